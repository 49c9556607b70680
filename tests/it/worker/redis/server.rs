//! `redis-server` as child processes on loopback, stopped by their ids.

use crate::support::{Folder, skipped};
use redis::{Client, Connection};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server, which ends when this goes.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
    options: Vec<String>,
    folder: Folder,
}

/// A port that nobody listens on just now.
pub(super) fn free_port() -> u16 {
    // A cluster's bus takes the port 10,000 above.
    loop {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        if port < 55_000 {
            return port;
        }
    }
}

impl Server {
    /// Starts one; `None`, said, where there is none to start.
    pub(super) fn start(test: &str, options: &[&str]) -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            skipped("no redis-server; run tests/run.sh");
            return None;
        }
        let (folder, port) = (Folder::new(test), free_port());
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let child = spawn(port, &options, &folder);
        let server = Self { child, port, options, folder };
        server.wait();
        Some(server)
    }

    /// The same again, empty, after it was killed.
    pub(super) fn restart(&mut self) {
        self.child = spawn(self.port, &self.options, &self.folder);
        self.wait();
    }

    fn wait(&self) {
        let began = Instant::now();
        while self.connect().is_none() {
            assert!(began.elapsed() < Duration::from_secs(20), "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection of the test's own, as whoever is asked for by `user`, such as `:secret@`.
    pub(super) fn connect_as(&self, user: &str) -> Option<Connection> {
        let client = Client::open(format!("redis://{user}127.0.0.1:{}", self.port)).expect("a URL");
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5)).ok()?;
        redis::cmd("PING").query::<String>(&mut connection).ok()?;
        Some(connection)
    }

    fn connect(&self) -> Option<Connection> {
        let password = self.options.iter().position(|option| option == "--requirepass");
        let user = password.map(|at| format!(":{}@", self.options[at + 1])).unwrap_or_default();
        self.connect_as(&user)
    }

    pub(super) fn connection(&self) -> Connection {
        self.connect().expect("it is there")
    }

    /// Its keys, in order.
    pub(super) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut self.connection()).expect("keys");
        keys.sort();
        keys
    }

    pub(super) fn get(&self, key: &str) -> Vec<u8> {
        redis::cmd("GET").arg(key).query(&mut self.connection()).expect("a value")
    }

    pub(super) fn set(&self, key: &str, value: &[u8]) {
        redis::cmd("SET").arg(key).arg(value).exec(&mut self.connection()).expect("it takes it");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    pub(super) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(super) fn resume(&self) {
        self.signal("-CONT");
    }

    pub(super) fn kill(&mut self) {
        // One that is paused, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, options: &[String], folder: &Folder) -> Child {
    let port = port.to_string();
    let always = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning"];
    let mut command = Command::new("redis-server");
    command.args(always).arg("--dir").arg(folder.path("")).args(options);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

/// A cluster of three servers without replicas.
pub(super) fn cluster(test: &str) -> Option<Vec<Server>> {
    let start = |at: u32| {
        let options = ["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"];
        Server::start(&format!("{test}-{at}"), &options)
    };
    let servers: Vec<Server> = (0..3).map(start).collect::<Option<_>>()?;
    let nodes: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let made = Command::new("redis-cli").args(["--cluster", "create"]).args(&nodes).args(["--cluster-yes"]).output();
    let made = made.expect("redis-cli runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    let began = Instant::now();
    let is_up = |server: &Server| {
        let told: String = redis::cmd("CLUSTER").arg("INFO").query(&mut server.connection()).expect("it tells");
        told.contains("cluster_state:ok")
    };
    while !servers.iter().all(is_up) {
        assert!(began.elapsed() < Duration::from_secs(30), "the cluster does not come up");
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(servers)
}
