//! Who may ask: signatures as a service checks them, told the time.

use driver::aws::sigv4::{Credentials, Scope, authorization};
use driver::aws::verify::{Asked, Refused, VALID_SECONDS, verify};

const MOMENT: &str = "20261128T050000Z";
/// The same in Unix seconds.
const NOW: i64 = 1_795_842_000;
const PATH: &str = "/endpoints/e/invocations";

fn keys() -> Credentials {
    Credentials { access_key: "AKID".to_owned(), secret_key: "secret".to_owned(), session_token: None }
}

/// A request that is signed, with what a test does to it afterwards.
fn asked(service: &str, change: impl FnOnce(&mut Vec<(String, String)>)) -> Result<(), Refused> {
    at(NOW, service, PATH, "", b"{}", change)
}

fn at(
    now: i64,
    service: &str,
    path: &str,
    query: &str,
    body: &[u8],
    change: impl FnOnce(&mut Vec<(String, String)>),
) -> Result<(), Refused> {
    let mut headers = vec![("host", "localhost"), ("x-amz-date", MOMENT), ("x-amzn-sagemaker-session-id", "s")];
    let scope = Scope { moment: MOMENT, region: "us-east-2", service };
    let signed = authorization(&keys(), scope, PATH, &headers, b"{}");
    headers.push(("authorization", &signed));
    let mut headers: Vec<(String, String)> =
        headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    change(&mut headers);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    verify(&keys(), "sagemaker", &Asked { method: "POST", path, query, headers: &headers, body }, now)
}

fn nothing(_: &mut Vec<(String, String)>) {}

#[test]
fn a_signed_request_is_believed_for_five_minutes() {
    assert_eq!(asked("sagemaker", nothing), Ok(()));
    for late in [-VALID_SECONDS, VALID_SECONDS] {
        assert_eq!(at(NOW + late, "sagemaker", PATH, "", b"{}", nothing), Ok(()), "{late} s");
    }
    for late in [-VALID_SECONDS - 1, VALID_SECONDS + 1] {
        let refused = at(NOW + late, "sagemaker", PATH, "", b"{}", nothing).expect_err("it is too old or too young");
        assert_eq!((refused.name(), refused.status()), ("InvalidSignatureException", 403), "{late} s");
        assert!(refused.to_string().contains(MOMENT), "{refused}");
    }
}

#[test]
fn what_was_changed_on_the_way_is_refused() {
    assert_eq!(at(NOW, "sagemaker", "/endpoints/f/invocations", "", b"{}", nothing), Err(Refused::Different));
    assert_eq!(at(NOW, "sagemaker", PATH, "a=1", b"{}", nothing), Err(Refused::Different));
    assert_eq!(at(NOW, "sagemaker", PATH, "", b"{ }", nothing), Err(Refused::Different));
    let set = |name: &'static str, value: &'static str| {
        move |headers: &mut Vec<(String, String)>| {
            headers.iter_mut().filter(|(known, _)| known == name).for_each(|(_, old)| *old = value.to_owned());
        }
    };
    assert_eq!(asked("sagemaker", set("x-amzn-sagemaker-session-id", "t")), Err(Refused::Different));
    assert_eq!(asked("sagemaker", set("host", "elsewhere")), Err(Refused::Different));
    let add = |name: &'static str| {
        move |headers: &mut Vec<(String, String)>| headers.push((name.to_owned(), "added".to_owned()))
    };
    for name in ["x-amzn-sagemaker-target-model", "x-amz-date", "host"] {
        assert_eq!(asked("sagemaker", add(name)), Err(Refused::Different), "{name} was added");
    }
    // Proxies add these, and nobody acts on them.
    for name in ["x-amzn-trace-id", "via"] {
        assert_eq!(asked("sagemaker", add(name)), Ok(()), "{name} was added");
    }
    let drop = |headers: &mut Vec<(String, String)>| headers.retain(|(name, _)| name != "x-amzn-sagemaker-session-id");
    assert_eq!(asked("sagemaker", drop), Err(Refused::Different));
}

#[test]
fn who_is_not_known_or_asks_elsewhere_is_refused() {
    assert_eq!(asked("bedrock", nothing), Err(Refused::Service("bedrock".to_owned())));
    let without =
        |name: &'static str| move |headers: &mut Vec<(String, String)>| headers.retain(|(known, _)| known != name);
    assert_eq!(asked("sagemaker", without("authorization")), Err(Refused::Unsigned));
    assert_eq!(asked("sagemaker", without("x-amz-date")), Err(Refused::Incomplete("x-amz-date")));
    let edit = |from: &'static str, to: &'static str| {
        move |headers: &mut Vec<(String, String)>| {
            let said = headers.iter_mut().find(|(name, _)| name == "authorization").expect("it is signed");
            said.1 = said.1.replace(from, to);
        }
    };
    assert_eq!(asked("sagemaker", edit("AKID", "OTHER")), Err(Refused::Unknown));
    assert_eq!(asked("sagemaker", edit("host;", "")), Err(Refused::Incomplete("the host and the day of x-amz-date")));
    assert_eq!(asked("sagemaker", edit("Signature=", "Signature=0")), Err(Refused::Different));
    for broken in ["Signature=", "SignedHeaders=", "Credential="] {
        let refused = asked("sagemaker", edit(broken, "Other=")).expect_err("it lacks something");
        assert_eq!((refused.name(), refused.status()), ("IncompleteSignatureException", 400));
    }
    let token = |headers: &mut Vec<(String, String)>| headers.push(("x-amz-security-token".to_owned(), "t".to_owned()));
    assert_eq!(asked("sagemaker", token), Err(Refused::Unknown));
}
