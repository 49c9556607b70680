//! What lies under a request: HTTP/1.1 or HTTP/2, TLS that a certificate of one's own vouches for, several servers in turn.

use super::mock::{Mock, bench, figure};
use crate::support::{Folder, podlab, said};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const REPLY: &str = "\
data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"so\"}}]}\n\n\
data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" it is\"},\"finish_reason\":\"stop\"}]}\n\n\
data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}\n\n\
data: [DONE]\n\n";

/// What a server has seen.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    over_http1: AtomicUsize,
    over_http2: AtomicUsize,
}

/// How a server is spoken to.
#[derive(Clone)]
enum Spoken {
    /// In the clear, HTTP/2 from the first byte.
    PriorKnowledge,
    /// TLS, with the protocols that it offers.
    Tls(TlsAcceptor),
}

/// A server in a thread of its own, for as long as the tests run.
fn serve(spoken: Spoken) -> (SocketAddr, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let (tell, told) = mpsc::channel();
    let of_it = seen.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            tell.send(listener.local_addr().expect("an address")).expect("somebody waits");
            while let Ok((stream, _)) = listener.accept().await {
                of_it.connections.fetch_add(1, Ordering::SeqCst);
                let (seen, spoken) = (of_it.clone(), spoken.clone());
                tokio::spawn(async move {
                    match spoken {
                        Spoken::PriorKnowledge => over_http2(stream, seen).await,
                        Spoken::Tls(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            match stream.get_ref().1.alpn_protocol() {
                                Some(b"h2") => over_http2(stream, seen).await,
                                _ => over_http1(stream, seen).await,
                            }
                        }
                    }
                });
            }
        });
    });
    (told.recv().expect("it listens"), seen)
}

// Connections that a client breaks concern nobody.
async fn over_http1(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seen: Arc<Seen>) {
    let answer = service_fn(move |request| answer(request, seen.clone()));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

async fn over_http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seen: Arc<Seen>) {
    let answer = service_fn(move |request| answer(request, seen.clone()));
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

async fn answer(request: Request<Incoming>, seen: Arc<Seen>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    if request.uri().path() != "/v1/chat/completions" {
        return Ok(Response::new(Full::new(Bytes::from_static(br#"{"data":[{"id":"m"}]}"#))));
    }
    let count = if request.version() == Version::HTTP_2 { &seen.over_http2 } else { &seen.over_http1 };
    count.fetch_add(1, Ordering::SeqCst);
    request.into_body().collect().await?;
    let response = Response::builder().header("content-type", "text/event-stream");
    Ok(response.body(Full::new(Bytes::from_static(REPLY.as_bytes()))).expect("headers are text"))
}

/// A server's configuration, and the certificate that vouches for it.
fn certified(folder: &Folder, protocols: &[&[u8]]) -> (TlsAcceptor, PathBuf) {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("key and certificate are a pair");
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), folder.file("ca.pem", &certified.cert.pem()))
}

const FLAGS: [&str; 6] = ["--requests", "40", "--concurrency", "8", "--prompt-tokens", "16"];

#[test]
fn requests_share_a_connection_of_http2() {
    let (address, seen) = serve(Spoken::PriorKnowledge);
    let target = format!("http://{address}");
    let Some((summary, stderr, code)) = bench(&[&["--target", &target, "--http2"], &FLAGS[..]].concat()) else {
        return;
    };
    assert_eq!((code, &summary["completed"], &summary["output_tokens"]), (0, &40.into(), &80.into()), "{stderr}");
    assert_eq!(seen.connections.load(Ordering::SeqCst), 1);
    // 40 and the two that size prompts.
    assert_eq!((seen.over_http1.load(Ordering::SeqCst), seen.over_http2.load(Ordering::SeqCst)), (0, 42));
}

#[test]
fn the_server_decides_what_is_spoken_over_tls() {
    let folder = Folder::new("bench-tls");
    for (protocols, http2) in [(&[b"h2".as_slice(), b"http/1.1"][..], true), (&[b"http/1.1".as_slice()], false)] {
        let (acceptor, ca) = certified(&folder, protocols);
        let (address, seen) = serve(Spoken::Tls(acceptor));
        let target = format!("https://localhost:{}", address.port());
        let ca = ca.to_str().expect("a path of ASCII");
        let flags = [&["--target", &target, "--cacert", ca], &FLAGS[..]].concat();
        let Some((summary, stderr, code)) = bench(&flags) else { return };
        assert_eq!((code, &summary["completed"]), (0, &40.into()), "{stderr}");
        let [one, two] = [&seen.over_http1, &seen.over_http2].map(|count| count.load(Ordering::SeqCst));
        assert_eq!((one, two), if http2 { (0, 42) } else { (42, 0) });
        assert!(figure(&summary, "mean_ttft_ms") > 0.0);
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_with_the_remedy() {
    let folder = Folder::new("bench-untrusted");
    let (acceptor, _) = certified(&folder, &[b"http/1.1"]);
    let (address, seen) = serve(Spoken::Tls(acceptor));
    let Some(mut command) = podlab() else { return };
    let target = format!("https://localhost:{}", address.port());
    let (_, stderr, code) = said(&command.args(["invoke", "--target", &target, "Hello"]).output().expect("it runs"));
    // Systems without any certificate say so at once.
    let remedy =
        if code == 4 { "--cacert FILE names one more certificate to trust" } else { "name a file with --cacert" };
    assert!(stderr.contains(remedy), "{stderr}");
    assert_eq!(seen.over_http1.load(Ordering::SeqCst), 0);
}

#[test]
fn several_servers_take_turns() {
    let mocks = [(); 2].map(|()| Mock::start(&["--ttft-ms", "5", "--itl-ms", "1", "--tokens", "2"]));
    let target = format!("{},{}", mocks[0].url(), mocks[1].url());
    let Some((summary, stderr, code)) = bench(&[&["--target", &target], &FLAGS[..]].concat()) else { return };
    assert_eq!((code, &summary["completed"]), (0, &40.into()), "{stderr}");
    let [one, other] = mocks.each_ref().map(|mock| figure(&mock.stats(), "requests"));
    assert!(one + other >= 42.0 && (one - other).abs() <= 2.0, "{one} and {other}");
}
