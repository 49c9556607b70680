//! Where requests go: `http(s)://host:port[/v1]` and `sagemaker://ENDPOINT?region=..`.

use router::Api;
use std::fmt;

/// A place that answers requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// TLS or not.
    pub https: bool,
    /// The name to look up, and to check the certificate against.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What stands before the paths of the API, such as `/v1`; empty or beginning with `/` and not ending with it.
    pub base: String,
}

/// What is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// OpenAI's HTTP API.
    OpenAi,
    /// SageMaker's runtime API, signed.
    SageMaker {
        /// The endpoint's name.
        endpoint: String,
        /// The region that requests are signed for.
        region: String,
    },
}

/// A target, as `--target` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As it was given.
    pub name: String,
    /// Where it is; requests take turns where there are several.
    pub origins: Vec<Origin>,
    /// What is spoken there.
    pub wire: Wire,
    /// The API that the path names, where it does.
    pub api: Option<Api>,
}

impl Origin {
    /// Reads a URL of `http` or `https`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (https, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(format!("{url}: a URL that begins with http:// or https:// is expected")),
        };
        if rest.contains(['?', '#', '@', ' ']) {
            return Err(format!("{url}: a query, a fragment or a user does not belong here"));
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let default = if https { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse().map_err(|_| format!("{url}: {port} is no port"))?;
                (host, port)
            }
            _ => (authority, default),
        };
        if host.is_empty() {
            return Err(format!("{url}: the host is missing"));
        }
        Ok(Self { https, host: host.to_owned(), port, base: path.trim_end_matches('/').to_owned() })
    }

    /// Host and port, as the header `host` has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let default = if self.https { 443 } else { 80 };
        if self.port == default { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The host without the brackets of an IPv6 address.
    #[must_use]
    pub fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.https { "https" } else { "http" }, self.authority(), self.base)
    }
}

impl Target {
    /// Reads what `--target` says. `variable` gives the environment's variables.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(name: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        if let Some(rest) = name.strip_prefix("sagemaker://") {
            return sagemaker(name, rest, variable);
        }
        let mut api = None;
        let mut origins = Vec::new();
        for url in name.split(',') {
            let mut origin = Origin::parse(url)?;
            for (path, of) in [("/chat/completions", Api::Chat), ("/completions", Api::Completions)] {
                if let Some(base) = origin.base.strip_suffix(path) {
                    if api.is_some_and(|api| api != of) {
                        return Err(format!("{name}: the URLs name different APIs; let all end in {path}"));
                    }
                    (api, origin.base) = (Some(of), base.to_owned());
                    break;
                }
            }
            if api.is_none() && origin.base.is_empty() {
                "/v1".clone_into(&mut origin.base);
            }
            origins.push(origin);
        }
        Ok(Self { name: name.to_owned(), origins, wire: Wire::OpenAi, api })
    }

    /// The path that requests of `api` are sent to.
    #[must_use]
    pub fn path(&self, origin: &Origin, api: Api, streamed: bool) -> String {
        match (&self.wire, api) {
            (Wire::OpenAi, Api::Chat) => format!("{}/chat/completions", origin.base),
            (Wire::OpenAi, Api::Completions) => format!("{}/completions", origin.base),
            (Wire::SageMaker { endpoint, .. }, _) => {
                let call = if streamed { "invocations-response-stream" } else { "invocations" };
                format!("{}/endpoints/{endpoint}/{call}", origin.base)
            }
        }
    }
}

fn sagemaker(name: &str, rest: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Target, String> {
    let (endpoint, query) = rest.split_once('?').unwrap_or((rest, ""));
    let endpoint = endpoint.trim_end_matches('/');
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    if endpoint.is_empty() || endpoint.len() > 63 || !endpoint.chars().all(allowed) {
        return Err(format!("{name}: an endpoint's name has up to 63 letters, digits and hyphens"));
    }
    let mut region = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("region", value)) if !value.is_empty() => region = Some(value.to_owned()),
            _ => return Err(format!("{name}: {pair} is not known; only region=NAME is")),
        }
    }
    let region = region
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"))
        .ok_or_else(|| format!("{name}: no region is known; add ?region=NAME or set AWS_REGION"))?;
    let given = variable("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME").or_else(|| variable("AWS_ENDPOINT_URL"));
    let url = given.unwrap_or_else(|| format!("https://runtime.sagemaker.{region}.{}", domain(&region)));
    let origins = vec![Origin::parse(&url)?];
    Ok(Target {
        name: name.to_owned(),
        origins,
        wire: Wire::SageMaker { endpoint: endpoint.to_owned(), region },
        api: None,
    })
}

/// Regions in China have a domain of their own.
fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}
