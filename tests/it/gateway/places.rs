//! Where a worker may be: goal R17.

use driver::gateway::worker;

#[test]
fn workers_are_named_by_plain_addresses() {
    for (url, origin) in [
        ("http://10.0.0.1:8000", "http://10.0.0.1:8000"),
        ("http://10.0.0.1:8000/", "http://10.0.0.1:8000"),
        ("http://10.0.0.1:8000/v1", "http://10.0.0.1:8000"),
        ("https://worker-0.workers.svc.cluster.local", "https://worker-0.workers.svc.cluster.local"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://[fd00::1]:8000", "http://[fd00::1]:8000"),
        ("http://a_b.c-d.e", "http://a_b.c-d.e"),
    ] {
        let read = worker(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(read.to_string(), origin);
    }
}

#[test]
fn hostile_addresses_are_refused() {
    let hostile = [
        "",
        "10.0.0.1:8000",
        "file:///etc/passwd",
        "gopher://10.0.0.1",
        "unix:///run/worker.sock",
        "ftp://10.0.0.1",
        "http://",
        "http:///v1",
        "http://:8000",
        "http://10.0.0.1:0",
        "http://10.0.0.1:65536",
        "http://10.0.0.1:-1",
        "http://10.0.0.1:8000/v2",
        "http://10.0.0.1:8000/v1/../admin",
        "http://10.0.0.1:8000?x=1",
        "http://10.0.0.1:8000#x",
        "http://user@10.0.0.1",
        "http://user:password@10.0.0.1",
        "http://good.example@169.254.169.254",
        "http://169.254.169.254",
        "http://169.254.169.254/latest/meta-data",
        "http://169.254.170.2",
        "http://[fd00:ec2::254]",
        "http://[fe80::1]",
        "http://[::ffff:169.254.169.254]",
        "http://[::ffff:a9fe:a9fe]",
        "http://[::169.254.169.254]",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://0xa9.0xfe.0xa9.0xfe",
        "http://0251.0376.0251.0376",
        "http://169.254.43518",
        "http://127.1",
        "http://0",
        "http://0.0.0.0:8000",
        "http://[::]:8000",
        "http://224.0.0.1",
        "http://255.255.255.255",
        "http://[ff02::1]",
        "http://100.100.100.200",
        "http://metadata.google.internal",
        "http://metadata.google.internal.",
        "http://METADATA.google.internal",
        "http://instance-data",
        "http://10.0.0.1\\@evil",
        "http://10.0.0.1\r\nx: y",
        "http://10.0.0.1\0",
        "http://10.0.0.1 ",
        "http://%31%36%39.254.169.254",
        "http://１６９.254.169.254",
        "http://[::1",
        "http://::1",
        "http://a..b",
        "http://-",
    ];
    let let_in: Vec<&str> = hostile.iter().copied().filter(|url| worker(url).is_ok()).collect();
    assert_eq!(let_in, ["http://-"], "a name that nobody has harms nobody");
    // What is shown of it is safe to show.
    let shown = worker("http://a\u{1b}[2J\n").expect_err("it is no URL").to_string();
    assert!(shown.chars().all(|letter| !letter.is_control()), "{shown:?}");
}
