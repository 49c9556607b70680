//! Salts keep tenants apart, whatever they are called and whatever their clients choose.

use super::{all_differ, served};
use kvcache::{InvalidSalt, Salt};

fn salt(tenant: &str, client: Option<&str>) -> Salt {
    Salt::for_tenant(tenant, client).expect("a salt")
}

// Computed apart from this crate, with Python:
//
//   def salt(tenant, client=None):
//       h = b"podlab.salt" + bytes([1])
//       for f in [tenant] if client is None else [tenant, client]: h += struct.pack("<Q", len(f.encode())) + f.encode()
//       return hashlib.sha256(h).hexdigest()
#[test]
fn salts_are_those_of_the_definition() {
    for (tenant, client, expected) in [
        ("tenant-a", None, "bd6e4de8a3ec34d2a66b1f5502aea128a046c0862969da963e6ede007baad151"),
        ("tenant-a", Some("batch.7"), "90dbd86e7ec739e4d8094636e7017fff01187d04c05399fdd46eaa7252c6241d"),
        ("", None, "6a9fb9f56033f715141ea4b6297ccf6ecbf1d6479383e5b6a5b1f8a8aa3cc78e"),
        ("고객", Some("x"), "3d0080cf5501ca084f3fe85bb30dca3df856c732372295f9e2d21952b4f24dec"),
    ] {
        assert_eq!(salt(tenant, client).as_str(), expected, "{tenant:?} {client:?}");
    }
}

/// Names made to run into each other: delimiters, prefixes, other people's encodings, nothing at all.
#[test]
fn no_tenant_and_no_client_reaches_another_space() {
    let long = "x".repeat(128);
    let digits = salt("a", None);
    let longer = "a".repeat(1 << 20);
    let framed =
        ["a\u{1}\0\0\0\0\0\0\0b", "\u{1}\0\0\0\0\0\0\0a", "a\0\0\0\0\0\0\0\0", "podlab.salt", "podlab.salt\u{1}"];
    let mut tenants =
        vec!["", " ", "a", "A", "ab", "abc", "a.b", "a-b", "a_b", "a@b", "a|b", "a:b", "a/b", "a,b", "a\0", "a\0b"];
    tenants.extend([
        "\0",
        "\u{feff}a",
        "a\u{301}",
        "á",
        "고객",
        "a b",
        "None",
        "null",
        "{}",
        "%61",
        digits.as_str(),
        &longer,
    ]);
    tenants.extend(framed);
    let clients = ["a", "b", "bc", "c", ".", "-", "_", "..", "a.b", "None", digits.as_str(), &long, &long[..127]];
    let mut salts = Vec::new();
    for tenant in &tenants {
        salts.push(salt(tenant, None));
        salts.extend(clients.iter().map(|client| salt(tenant, Some(client))));
    }
    all_differ(salts.iter().map(|salt| served(salt).root()).collect());
    all_differ(salts);
}

#[test]
fn a_tenant_and_client_always_have_the_same_space() {
    assert_eq!(salt("a", Some("b")), salt(&String::from("a"), Some(&["b"].concat())));
    assert!(
        salt("a", Some("b")).as_str().bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
    );
}

#[test]
fn what_a_client_may_not_choose_is_refused() {
    let refused = |client: &str| Salt::for_tenant("a", Some(client)).expect_err("it is refused");
    assert_eq!(refused(""), InvalidSalt::Length(0));
    assert_eq!(refused(&"x".repeat(129)), InvalidSalt::Length(129));
    for found in ['@', '/', '%', ' ', '\0', '\n', ':', '|', '+', '=', '\u{e9}', '\u{ff41}', '\u{7f}'] {
        for client in [format!("{found}"), format!("a{found}"), format!("{found}a")] {
            assert_eq!(refused(&client), InvalidSalt::Character(found));
        }
    }
    let longest = "x".repeat(128);
    for client in ["a", "Z", "0", ".", "_", "-", "a.b_c-9", &longest] {
        assert!(Salt::for_tenant("a", Some(client)).is_ok(), "{client}");
    }
    assert_eq!(refused("a@b").to_string(), "a cache salt consists of A-Z, a-z, 0-9, '.', '_', '-'; found '@'");
    assert_eq!(refused("").to_string(), "a cache salt has 1 to 128 characters, not 0 bytes");
}
