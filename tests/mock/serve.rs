//! A connection: requests one after the other, by hand, so that every byte is written when it should be.

use crate::truth::Truth;
use crate::{Settings, frames};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};

/// A request.
struct Asked {
    path: String,
    /// Names are in small letters.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, settings: Settings) {
    let (settings, truth) = (Arc::new(settings), Arc::new(Truth::default()));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        truth.connected();
        let (settings, truth) = (settings.clone(), truth.clone());
        tokio::spawn(async move {
            // A client that goes away concerns nobody else.
            let _ = Connection { stream, buffer: Vec::new(), settings, truth }.live().await;
        });
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    settings: Arc<Settings>,
    truth: Arc<Truth>,
}

impl Connection {
    async fn live(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        while let Some(asked) = self.read().await? {
            match asked.path.as_str() {
                "/stats" => self.whole(200, &self.truth.json(), "").await?,
                "/reset" => {
                    self.truth.reset();
                    self.whole(200, "{}", "").await?;
                }
                "/health" => self.whole(200, "{}", "").await?,
                "/metrics" => self.whole(200, &self.truth.metrics(), "").await?,
                "/v1/models" => self.whole(200, r#"{"object":"list","data":[{"id":"mock"}]}"#, "").await?,
                path if path.contains("completions") || path.contains("invocations") => {
                    let number = self.truth.begins();
                    let kept = self.answer(&asked, number).await;
                    self.truth.ends();
                    if !kept? {
                        return Ok(());
                    }
                }
                _ => self.whole(404, r#"{"error":{"message":"no such path"}}"#, "").await?,
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> io::Result<Option<Asked>> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.more().await? == 0 {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let headers: Vec<(String, String)> =
            fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
        while self.buffer.len() < end + length {
            if self.more().await? == 0 {
                return Ok(None);
            }
        }
        let body = self.buffer[end..end + length].to_vec();
        self.buffer.drain(..end + length);
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        Ok(Some(Asked { path, headers, body }))
    }

    async fn more(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.buffer).await
    }

    async fn whole(&mut self, status: u16, body: &str, headers: &str) -> io::Result<()> {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        self.stream.write_all(text.as_bytes()).await
    }

    /// Answers a request; whether the connection lives on.
    async fn answer(&mut self, asked: &Asked, number: u64) -> io::Result<bool> {
        let arrived = Instant::now();
        let keys = self.settings.keys.clone().filter(|_| asked.path.starts_with("/endpoints/"));
        if let Some(Err(why)) = keys.map(|keys| keys.refuse(&asked.path, &asked.headers, &asked.body)) {
            let said = format!("{{\"Message\":\"The request signature does not match: {why}\"}}");
            self.whole(403, &said, "x-amzn-errortype: InvalidSignatureException\r\n").await?;
            return Ok(true);
        }
        let text = String::from_utf8_lossy(&asked.body).into_owned();
        let wanted = after(&text, "\"max_tokens\":").unwrap_or(u64::from(self.settings.tokens));
        let tokens = wanted.min(u64::from(self.settings.tokens)).max(1);
        let prompt = self.settings.prompt_tokens.unwrap_or_else(|| text.split(' ').count() as u64 - 1);
        let cached = self
            .settings
            .cached_tokens
            .map(|cached| format!(",\"prompt_tokens_details\":{{\"cached_tokens\":{cached}}}"));
        self.truth.prompt(prompt, self.settings.cached_tokens.unwrap_or_default());
        let total = prompt + tokens;
        let usage = format!(
            "{{\"prompt_tokens\":{prompt},\"completion_tokens\":{tokens},\"total_tokens\":{total}{}}}",
            cached.unwrap_or_default()
        );
        // The first two calls are those that size prompts: they shall succeed.
        let fault = self.settings.fault.clone().filter(|(_, every)| number > 2 && number.is_multiple_of(*every));
        let fault = fault.map(|(kind, _)| kind).unwrap_or_default();
        if let Some(alive) = self.fault_before(&fault).await? {
            return Ok(alive);
        }
        if !text.contains("\"stream\":true") {
            sleep_until(arrived + self.settings.ttft + self.settings.itl * (tokens as u32 - 1)).await;
            let words = "tok ".repeat(tokens as usize);
            let body = format!(
                "{{\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{words}\"}},\"finish_reason\":\"length\"}}],\"usage\":{usage}}}"
            );
            self.whole(200, &body, "").await?;
            return Ok(true);
        }
        let framed = asked.path.contains("invocations");
        let kind = if framed { "application/vnd.amazon.eventstream" } else { "text/event-stream" };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
        self.stream.write_all(head.as_bytes()).await?;
        let mut told = Told { framed, part: self.settings.part, chat: !text.contains("\"prompt\":") };
        self.tokens(&mut told, arrived, tokens, &fault, &usage).await
    }

    async fn fault_before(&mut self, fault: &str) -> io::Result<Option<bool>> {
        match fault {
            "status500" => self.whole(500, r#"{"error":{"message":"boom"}}"#, "").await?,
            "status429" => self.whole(429, r#"{"error":{"message":"slow down"}}"#, "").await?,
            "throttled" => {
                self.whole(400, r#"{"Message":"Rate exceeded"}"#, "x-amzn-errortype: ThrottlingException\r\n").await?;
            }
            "expired" => {
                let said = r#"{"Message":"The security token included in the request is expired"}"#;
                self.whole(403, said, "x-amzn-errortype: ExpiredTokenException\r\n").await?;
            }
            "signature" => {
                let said = r#"{"Message":"The request signature we calculated does not match"}"#;
                self.whole(403, said, "x-amzn-errortype: InvalidSignatureException\r\n").await?;
            }
            "model_timeout" => {
                let said = r#"{"Message":"Received server error (0) from primary with message \"Your invocation timed out while waiting for a response from container primary.\"","OriginalStatusCode":0}"#;
                self.whole(424, said, "x-amzn-errortype: ModelError\r\n").await?;
            }
            "model_error" => {
                let said = r#"{"Message":"Received server error (500) from primary","OriginalStatusCode":500,"OriginalMessage":"CUDA"}"#;
                self.whole(424, said, "x-amzn-errortype: ModelError\r\n").await?;
            }
            "close" => return Ok(Some(false)),
            "hang" => sleep(Duration::from_secs(3600)).await,
            _ => return Ok(None),
        }
        Ok(Some(true))
    }

    async fn tokens(
        &mut self,
        told: &mut Told,
        arrived: Instant,
        tokens: u64,
        fault: &str,
        usage: &str,
    ) -> io::Result<bool> {
        if told.chat {
            self.chunk(&told.event(&choice(r#"{"role":"assistant","content":""}"#, false))).await?;
        }
        let mut first = None;
        for index in 0..tokens {
            sleep_until(arrived + self.settings.ttft + self.settings.itl * index as u32).await;
            let now = Instant::now();
            if *first.get_or_insert(now) == now {
                self.truth.first_token(now - arrived);
            }
            if let Some(alive) = self.fault_inside(told, fault, index).await? {
                return Ok(alive);
            }
            let last = index + 1 == tokens;
            let data = if told.chat {
                choice(r#"{"content":"tok "}"#, last)
            } else {
                format!("{{\"choices\":[{{\"index\":0,\"text\":\"tok \",\"finish_reason\":{}}}]}}", finish(last))
            };
            if fault != "empty" {
                self.chunk(&told.event(&data)).await?;
            }
        }
        self.truth.span(first.map_or(Duration::ZERO, |first| first.elapsed()));
        let mut end = told.event(&format!("{{\"choices\":[],\"usage\":{usage}}}"));
        if fault != "no_done" {
            end.extend(told.event("[DONE]"));
        }
        if fault == "inside_frame" {
            end.truncate(end.len() - 3);
        }
        self.chunk(&end).await?;
        self.stream.write_all(b"0\r\n\r\n").await?;
        Ok(true)
    }

    /// Faults at the third token.
    async fn fault_inside(&mut self, told: &Told, fault: &str, index: u64) -> io::Result<Option<bool>> {
        if index != 2 {
            return Ok(None);
        }
        let bytes = match fault {
            "cut" => return Ok(Some(false)),
            "bad_event" => told.event("{\"choices\":["),
            "error_event" => told.event(r#"{"error":{"message":"the engine died","code":500}}"#),
            "bad_crc" => {
                let mut bytes = told.event("{}");
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                bytes
            }
            "model_stream_error" => {
                frames::exception("ModelStreamError", r#"{"Message":"died","ErrorCode":"StreamBroken"}"#)
            }
            "stream_timeout" => {
                frames::exception("ModelStreamError", r#"{"Message":"60 s","ErrorCode":"ModelInvocationTimeExceeded"}"#)
            }
            "internal_stream_failure" => frames::exception("InternalStreamFailure", r#"{"Message":"oops"}"#),
            _ => return Ok(None),
        };
        self.chunk(&bytes).await?;
        self.stream.write_all(b"0\r\n\r\n").await?;
        Ok(Some(true))
    }

    /// A chunk of the body, in one write or cut.
    async fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend(bytes);
        chunk.extend(b"\r\n");
        for piece in chunk.chunks(self.settings.write.min(chunk.len())) {
            self.stream.write_all(piece).await?;
            if self.settings.write < usize::MAX {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

/// How events are told.
struct Told {
    framed: bool,
    part: usize,
    chat: bool,
}

impl Told {
    fn event(&self, data: &str) -> Vec<u8> {
        let event = format!("data: {data}\n\n").into_bytes();
        if self.framed { event.chunks(self.part.max(1)).flat_map(frames::part).collect() } else { event }
    }
}

fn choice(delta: &str, last: bool) -> String {
    let head = r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"mock","#;
    format!("{head}\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{}}}]}}", finish(last))
}

fn finish(last: bool) -> &'static str {
    if last { "\"length\"" } else { "null" }
}

fn after(text: &str, key: &str) -> Option<u64> {
    let rest = &text[text.find(key)? + key.len()..];
    rest.trim_start().split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}
