//! Signature Version 4, checked by another hand than the client's signer.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Who may ask.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

impl Keys {
    /// What is wrong with the signature of a POST of `body` to `path`, which holds nothing that is escaped.
    pub(crate) fn refuse(&self, path: &str, headers: &[(String, String)], body: &[u8]) -> Result<(), String> {
        let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let said = header("authorization").and_then(|said| said.strip_prefix("AWS4-HMAC-SHA256 "));
        let said = said.ok_or("no authorization by AWS4-HMAC-SHA256")?;
        let field = |name: &str| {
            let found = said.split(", ").find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| format!("{name} is missing"))
        };
        let (credential, signed, signature) = (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
        let [id, day, region, service, end] = credential.split('/').collect::<Vec<_>>()[..] else {
            return Err(format!("{credential}: five parts are expected"));
        };
        if id != self.id || service != "sagemaker" || end != "aws4_request" {
            return Err(format!("{credential} is not known"));
        }
        let moment = header("x-amz-date").ok_or("x-amz-date is missing")?;
        if !moment.starts_with(day) || !signed.split(';').any(|name| name == "host") {
            return Err("the day or the host is not signed".to_owned());
        }
        let mut lines = String::new();
        for name in signed.split(';') {
            let value = header(name).ok_or_else(|| format!("{name} is signed and missing"))?;
            lines.push_str(&format!("{name}:{}\n", value.trim()));
        }
        let request = format!("POST\n{path}\n\n{lines}\n{signed}\n{}", hex(Sha256::digest(body)));
        let scope = format!("{day}/{region}/{service}/{end}");
        let text = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{}", hex(Sha256::digest(request)));
        let key = [day, region, service, end]
            .iter()
            .fold(format!("AWS4{}", self.secret).into_bytes(), |key, part| hmac(&key, part));
        if hex(hmac(&key, &text)) == signature { Ok(()) } else { Err("it is another one".to_owned()) }
    }
}
