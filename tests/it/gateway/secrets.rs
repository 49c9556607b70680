//! Keys and prompts that nobody else sees: goal R16, TLS, and the API key.

use super::world::{Gateway, Mock, json, settings};
use crate::emulate::raw::{Call, Response, call, request};
use crate::support::{Folder, podlab, project};
use driver::emulate::Tls;
use driver::gateway::Settings;
use driver::http::{ApiKey, acceptor};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ASK: &str = "{\"prompt\":\"a\"}";

#[tokio::test]
async fn the_key_opens_every_path_but_two_and_goes_no_further() {
    let folder = Folder::new("gateway-key");
    let key = folder.file("key", "s3cret-key\n");
    let theirs = folder.file("theirs", "their-key");
    let mock = Mock::new(json("200 OK", "{}")).await;
    let set_up = Settings {
        api_key: Some(ApiKey::read(&key).expect("a key")),
        worker_key: Some(ApiKey::read(&theirs).expect("a key")),
        ..settings(&[&mock])
    };
    assert!(!format!("{set_up:?}").contains("s3cret"), "a key is not shown");
    let gateway = Gateway::new(set_up).await;
    let ask = async |method: &str, path: &str, header: &str| -> Response {
        let sent = request(method, path, &format!("connection: close\r\n{header}"), ASK);
        Call::open(gateway.address, sent.as_bytes()).await.response().await
    };
    let paths = [
        ("POST", "/v1/completions"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/invocations"),
        ("POST", "/tokenize"),
        ("GET", "/v1/models"),
        ("GET", "/metrics"),
        ("GET", "/nothing"),
        // Nobody checks signatures here.
        ("POST", "/endpoints/llama-70b/invocations"),
    ];
    for (method, path) in paths {
        for wrong in [
            "",
            "authorization: Bearer s3cret-ke\r\n",
            "authorization: Bearer s3cret-keyy\r\n",
            "authorization: Bearer S3cret-key\r\n",
            "authorization: Basic s3cret-key\r\n",
            "authorization: s3cret-key\r\n",
            "x-api-key: \r\n",
        ] {
            let got = ask(method, path, wrong).await;
            assert_eq!(got.status, 401, "{method} {path} with {wrong:?}");
            assert_eq!(got.json()["error"]["type"], "AuthenticationError");
        }
    }
    assert_eq!(mock.requests(), 0);
    for open in ["/health", "/ping"] {
        assert_eq!(ask("GET", open, "").await.status, 200);
    }
    for right in
        ["authorization: Bearer s3cret-key\r\n", "authorization: bearer s3cret-key\r\n", "x-api-key: s3cret-key\r\n"]
    {
        assert_eq!(ask("POST", "/v1/completions", right).await.status, 200, "{right}");
        let seen = mock.seen.lock().expect("sound").requests.last().cloned().expect("asked");
        let seen = String::from_utf8(seen).expect("text").to_lowercase();
        assert!(seen.contains("authorization: bearer their-key") && !seen.contains("s3cret"), "{seen}");
    }
}

#[test]
fn files_without_a_key_are_refused() {
    let folder = Folder::new("gateway-no-key");
    for wrong in ["", "\n", "two words\n", "two\nlines\n", "tab\t\n", "käse\n"] {
        let file = folder.file("key", wrong);
        assert!(ApiKey::read(&file).is_err(), "{wrong:?}");
    }
    assert!(ApiKey::read(&folder.path("nothing")).is_err());
}

#[tokio::test]
async fn tls_is_spoken_on_both_sides() {
    let folder = Folder::new("gateway-tls");
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let pem = folder.file("cert.pem", &certified.cert.pem());
    let key = folder.file("key.pem", &certified.signing_key.serialize_pem());
    let tls = || Some(Tls(acceptor(&pem, &key).expect("they belong together")));
    let mock = Mock::new(json("200 OK", "{\"by\":\"the worker\"}")).await;
    // A gateway before a gateway, so that there is TLS on both of its sides.
    let inner = Gateway::new(Settings { tls: tls(), ..settings(&[&mock]) }).await;
    let url = format!("https://localhost:{}", inner.address.port());
    let outer = Settings {
        workers: vec![driver::gateway::worker(&url).expect("a name")],
        worker_certificates: Some(pem.clone()),
        tls: tls(),
        ..settings(&[&mock])
    };
    let outer = Gateway::new(outer).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).expect("a certificate");
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = tokio::net::TcpStream::connect(outer.address).await.expect("it listens");
    let name = "localhost".try_into().expect("a name");
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("trusted");
    let sent = request("POST", "/v1/completions", "connection: close\r\n", ASK);
    stream.write_all(sent.as_bytes()).await.expect("open");
    let mut got = String::new();
    let _ = stream.read_to_string(&mut got).await;
    assert!(got.starts_with("HTTP/1.1 200 OK") && got.contains("the worker"), "{got}");
    // In the clear nobody is let in.
    let mut plain = tokio::net::TcpStream::connect(outer.address).await.expect("it listens");
    plain.write_all(sent.as_bytes()).await.expect("open");
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said).await;
    assert!(!String::from_utf8_lossy(&said).contains("200"), "{said:?}");
    // A worker whose certificate nobody vouches for is none.
    let strange = Settings {
        worker_certificates: None,
        workers: vec![driver::gateway::worker(&url).expect("a name")],
        ..settings(&[&mock])
    };
    let strange = Gateway::new(strange).await;
    assert_eq!(call(strange.address, "POST", "/v1/completions", ASK).await.status, 502);
}

/// A process that serves, and what it has said.
struct Server(Child, String, BufReader<std::process::ChildStderr>);

impl Server {
    fn new(arguments: &[&str], variables: &[(&str, &str)]) -> Option<Self> {
        let mut command = podlab()?;
        let endpoint = project("driver/examples/aws-blog-70b.yaml");
        command.arg("serve").arg(endpoint).args(["--listen", "127.0.0.1:0"]).args(arguments);
        command.envs(variables.iter().copied()).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("it is built");
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        let mut lines = String::new();
        while !lines.contains("Ctrl-C stops") {
            assert!(said.read_line(&mut lines).expect("text") > 0, "it ended: {lines}");
        }
        Some(Self(child, lines, said))
    }

    fn address(&self) -> std::net::SocketAddr {
        let (_, rest) = self.1.split_once("http://").expect("it says where");
        rest.split('/').next().expect("it says where").parse().expect("an address")
    }

    /// Ends it, by its own number, and gives all it said.
    fn said(mut self) -> (String, Option<i32>) {
        let pid = self.0.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("it runs").success());
        let status = self.0.wait().expect("it is ours");
        self.2.read_to_string(&mut self.1).expect("text");
        (std::mem::take(&mut self.1), status.code())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// R16: what a client sends, and what keys there are, stands in no log, no metric and no error. R13: SIGTERM ends in 0.
#[tokio::test]
async fn nothing_of_a_request_is_told_to_others() {
    let folder = Folder::new("gateway-canaries");
    let (key, secret) = ("canary-api-key-1", "canary-worker-key-2");
    let (key_file, secret_file) = (folder.file("key", key), folder.file("secret", secret));
    let (key_file, secret_file) = (key_file.display().to_string(), secret_file.display().to_string());
    let aws = [("AWS_ACCESS_KEY_ID", "canary-access-3"), ("AWS_SECRET_ACCESS_KEY", "canary-secret-4")];
    let aws = [aws[0], aws[1], ("RUST_LOG", "trace")];
    let Some(worker) = Server::new(&["--replicas", "1", "--api-key-file", &secret_file], &aws) else { return };
    let url = format!("http://{}", worker.address());
    let flags = ["--worker", &url, "--api-key-file", &key_file, "--worker-key-file", &secret_file];
    let gateway = Server::new(&flags, &aws).expect("there is a binary");
    let address = gateway.address();
    let (prompt, salt) = ("canary prompt 5", "canary-salt-6");
    let mut shown = String::new();
    let headers = format!("connection: close\r\nauthorization: Bearer {key}\r\n");
    for (path, body) in [
        ("/v1/completions", format!("{{\"prompt\":\"{prompt}\",\"cache_salt\":\"{salt}\",\"max_tokens\":3}}")),
        (
            "/v1/chat/completions",
            format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}],\"max_tokens\":3}}"),
        ),
        ("/v1/completions", format!("{{\"prompt\":\"{prompt}\",\"cache_salt\":\"{salt} \"}}")),
        ("/v1/completions", format!("{{\"prompt\":\"{prompt}\",\"max_tokens\":\"{prompt}\"}}")),
        ("/v1/completions", format!("{{\"prompt\":\"{prompt}\"")),
        ("/v1/completions", format!("{{\"prompt\":\"{prompt}\",\"tools\":[\"{prompt}\"]}}")),
        ("/tokenize", format!("{{\"prompt\":\"{prompt}\"}}")),
        ("/endpoints/llama-70b/invocations", format!("{{\"prompt\":\"{prompt}\"}}")),
    ] {
        let sent = request("POST", path, &headers, &body);
        let got = Call::open(address, sent.as_bytes()).await.response().await;
        shown.push_str(&got.head);
        shown.push_str(&got.body);
    }
    for address in [address, worker.address()] {
        for key in [key, secret] {
            let sent = request("GET", "/metrics", &format!("connection: close\r\nauthorization: Bearer {key}\r\n"), "");
            shown.push_str(&Call::open(address, sent.as_bytes()).await.response().await.body);
        }
    }
    assert!(shown.contains("podlab:gateway_attempts_total"), "{shown}");
    for server in [gateway, worker] {
        let (said, code) = server.said();
        assert_eq!(code, Some(0), "{said}");
        shown.push_str(&said);
    }
    assert!(!shown.contains("canary"), "{shown}");
}
