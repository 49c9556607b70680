//! A Redis that is away, silent, slow, or something else: slower, not broken.

use super::server::Server;
use super::{BARE, FAILED, PUT, ask, counter, from_l2, prompt, reaches, serving};
use driver::l2::Terms;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What `podlab serve` has unless told otherwise.
const STRICT: Terms = Terms { silence: Duration::from_millis(20), in_flight: 4, ttl: None };

/// Prompts of which the device holds two, so that each has to be looked for when its turn comes again.
const PROMPTS: u32 = 3;

async fn ask_one(address: SocketAddr, number: u32) -> Value {
    ask(address, &prompt(30 + number % PROMPTS, 300)).await
}

/// So many requests are answered, right and soon, while L2 is of no use; nobody is asked while the breaker is open.
async fn goes_on_without(address: SocketAddr, why: &str) {
    let (began, failed) = (Instant::now(), counter(address, &FAILED).await);
    let mut waited = Vec::new();
    for number in 0..9 {
        let reply = ask_one(address, number).await;
        assert_eq!(from_l2(&reply), 0, "{why}");
        waited.push(reply["usage"]["podlab"]["ttft_tiers_ms"].as_f64().expect("it tells"));
    }
    waited.sort_by(f64::total_cmp);
    let (failed, lasted) = (counter(address, &FAILED).await - failed, began.elapsed());
    println!(
        "{why}: 9 requests in {lasted:?}; tiers took {:.1} ms at P50, {:.1} at most; {failed} operations failed",
        waited[4], waited[8]
    );
    assert!(waited[8] <= 50.0, "{why}: TTFT grows by at most 50 ms: {waited:?}");
    // Three open the breaker; a look-up and a store of each of two requests may have been under way then, or not heard of yet;
    // then one each two seconds. Without a breaker all nine fail twice.
    let most = 3 + 4 + lasted.as_secs() / 2;
    assert!((3..=most).contains(&failed), "{why}: {failed} operations in {lasted:?}");
}

/// Hits are back, and how soon.
async fn comes_back(address: SocketAddr, why: &str) {
    let began = Instant::now();
    for number in 0.. {
        if from_l2(&ask_one(address, number).await) > 0 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{why}: no hit any more");
    }
    println!("{why}: hits are back after {:?}", began.elapsed());
    assert!(began.elapsed() <= Duration::from_secs(5), "{why}: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_redis_that_is_paused_or_killed_is_done_without_until_it_is_back() {
    let Some(mut server) = Server::start("redis-down", &[]) else { return };
    let url = server.url();
    let ((), told) = serving(&url, (1, BARE, STRICT), async |address| {
        comes_back(address, "at first").await;
        server.pause();
        goes_on_without(address, "paused").await;
        server.resume();
        comes_back(address, "paused").await;
        server.kill();
        goes_on_without(address, "killed").await;
        server.restart();
        comes_back(address, "killed").await;
    })
    .await;
    println!("{}", told.join("\n"));
    for words in ["says nothing within l2.silence", "it answers again"] {
        assert!(told.iter().any(|line| line.contains(words)), "{words}: {told:?}");
    }
    assert!(told.iter().all(|line| line.contains(&format!("127.0.0.1:{}", server.port))), "{told:?}");
}

#[tokio::test]
async fn who_starts_without_a_redis_finds_it_later() {
    let Some(mut server) = Server::start("redis-later", &[]) else { return };
    let url = server.url();
    server.kill();
    let ((), told) = serving(&url, (1, BARE, STRICT), async |address| {
        goes_on_without(address, "absent").await;
        server.restart();
        comes_back(address, "absent").await;
    })
    .await;
    assert!(told[0].contains("cannot be reached; is it running"), "{told:?}");
}

/// Something that listens, and does `what` with each connection.
async fn listening<F: Future<Output = ()> + Send + 'static>(what: impl Fn(TcpStream) -> F + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(what(stream));
        }
    });
    port
}

#[tokio::test]
async fn what_answers_and_is_no_redis_is_done_without() {
    let garbage: [&[u8]; 3] =
        [b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", b"$-7\r\n*99999999\r\n", &[0xff; 64]];
    for (number, bytes) in garbage.into_iter().enumerate() {
        let port = listening(move |mut stream| async move {
            let mut asked = [0; 4096];
            while let Ok(1..) = stream.read(&mut asked).await {
                if stream.write_all(bytes).await.is_err() {
                    return;
                }
            }
        })
        .await;
        let ((), told) = serving(&format!("redis://127.0.0.1:{port}"), (1, BARE, STRICT), async |address| {
            goes_on_without(address, &format!("garbage {number}")).await;
        })
        .await;
        println!("{told:?}");
        assert!(!told.is_empty());
    }
}

#[tokio::test]
async fn a_redis_that_takes_a_second_for_each_answer_is_done_without() {
    let Some(server) = Server::start("redis-slow", &[]) else { return };
    let upstream = server.port;
    let port = listening(move |mut stream| async move {
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
        let (mut from, mut to) = stream.split();
        let (mut answers, mut asks) = server.split();
        let late = async {
            let mut bytes = vec![0; 1 << 16];
            while let Ok(count @ 1..) = answers.read(&mut bytes).await {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if to.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
            }
        };
        let (_, ()) = tokio::join!(tokio::io::copy(&mut from, &mut asks), late);
    })
    .await;
    serving(&format!("redis://127.0.0.1:{port}"), (1, BARE, STRICT), async |address| {
        goes_on_without(address, "slow").await;
    })
    .await;
}

/// Who loads, and is making headway, has until the tier's deadline: 1 s and 250 ms for 1,024 tokens.
#[tokio::test]
async fn a_load_that_makes_headway_is_not_cut_at_the_first_byte() {
    let Some(server) = Server::start("redis-trickle", &[]) else { return };
    serving(&server.url(), (1, BARE, super::PATIENT), async |address| {
        ask_one(address, 0).await;
        reaches(address, &PUT, 9).await;
    })
    .await;
    let upstream = server.port;
    // 9 chunks of 34 KiB at 16 KiB each 10 ms: 0.2 s, four times `silence`.
    let port = listening(move |mut stream| async move {
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
        let (mut from, mut to) = stream.split();
        let (mut answers, mut asks) = server.split();
        let trickle = async {
            let mut bytes = vec![0; 1 << 14];
            while let Ok(count @ 1..) = answers.read(&mut bytes).await {
                if to.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
                if count > 4096 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        let (_, ()) = tokio::join!(tokio::io::copy(&mut from, &mut asks), trickle);
    })
    .await;
    let terms = Terms { silence: Duration::from_millis(50), ..STRICT };
    serving(&format!("redis://127.0.0.1:{port}"), (1, BARE, terms), async |address| {
        let reply = ask_one(address, 0).await;
        let tiers = reply["usage"]["podlab"]["ttft_tiers_ms"].as_f64().expect("it tells");
        println!("a load that trickles: {tiers:.0} ms");
        assert_eq!(from_l2(&reply), 288);
        assert!(tiers > 100.0, "it took its time: {tiers}");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_told_and_repeated_nowhere() {
    let Some(server) = Server::start("redis-auth", &["--requirepass", "right-and-secret"]) else { return };
    let port = server.port;
    for (user, right) in [(":right-and-secret@", true), (":wrong-and-secret@", false), ("", false)] {
        let url = format!("redis://{user}127.0.0.1:{port}");
        let ((), told) = serving(&url, (1, BARE, super::PATIENT), async |address| {
            ask_one(address, 0).await;
            if right {
                reaches(address, &PUT, 9).await;
            }
        })
        .await;
        let told = told.join("\n");
        assert_eq!(told.is_empty(), right, "{told}");
        assert!(right || told.contains("refuses the user or the password"), "{told}");
        assert!(right || told.contains("REDIS_URL"), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }
}

#[tokio::test]
async fn a_redis_that_is_full_and_evicts_nothing_is_told() {
    let Some(server) = Server::start("redis-full", &["--maxmemory", "1500kb", "--maxmemory-policy", "noeviction"])
    else {
        return;
    };
    let ((), told) = serving(&server.url(), (1, BARE, super::PATIENT), async |address| {
        for number in 0..PROMPTS {
            ask_one(address, number).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    })
    .await;
    assert!(told.iter().any(|line| line.contains("maxmemory-policy")), "{told:?}");
}

/// One that says what is there, and gives nothing of it, is no L2: each such load counts as a failure, and that it is refused is told.
#[tokio::test]
async fn a_redis_that_refuses_to_give_is_told_and_counted() {
    let options = ["--user", "default", "on", "nopass", "~*", "&*", "+@all", "-get", "-getex"];
    let Some(server) = Server::start("redis-stingy", &options) else { return };
    let ((), told) = serving(&server.url(), (1, BARE, super::PATIENT), async |address| {
        for number in 0..PROMPTS {
            ask_one(address, number).await;
        }
        reaches(address, &PUT, 18).await;
        let before = counter(address, &FAILED).await;
        let reply = ask_one(address, 0).await;
        assert_eq!(from_l2(&reply), 0);
        assert!(counter(address, &FAILED).await > before, "a load that was refused has failed");
    })
    .await;
    assert!(told.iter().any(|line| line.contains("they may not do this")), "{told:?}");
}
