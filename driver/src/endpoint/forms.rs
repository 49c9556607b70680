//! The shapes of strings in the schema: the CRD's patterns, and Kubernetes' rules for names.

use super::schema::Form;

/// `modelName`. The CRD's pattern is not anchored at its end, so only the first character is bound.
pub(super) const MODEL_NAME: Form = Form::Like {
    prefix: "",
    what: "a model name",
    allowed: "at most 63 characters, the first an ASCII letter or digit",
    is: |text| text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().count() <= 63,
};

/// `endpointName`: empty, or SageMaker's rule for endpoint names.
pub(super) const ENDPOINT_NAME: Form = Form::Like {
    prefix: "",
    what: "a SageMaker endpoint name",
    allowed: "up to 63 ASCII letters, digits and inner hyphens, or the empty string",
    is: |text| text.is_empty() || hyphenated(text, 63, |c| c.is_ascii_alphanumeric()),
};

/// `instanceType`.
pub(super) const INSTANCE_TYPE: Form = Form::Like {
    prefix: "ml.",
    what: "a SageMaker instance type",
    allowed: "a name that starts with \"ml.\", such as ml.p5.48xlarge",
    is: |text| text.starts_with("ml."),
};

/// A Hugging Face model, `org/model`.
pub(super) const HUB_MODEL: Form = Form::Like {
    prefix: "",
    what: "a Hugging Face model",
    allowed: "org/model, such as meta-llama/Llama-3.1-8B-Instruct",
    is: |text| {
        let part = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        matches!(text.split_once('/'), Some((org, model)) if part(org) && part(model))
    },
};

/// A commit of a Hugging Face repository.
pub(super) const COMMIT: Form = Form::Like {
    prefix: "",
    what: "a commit",
    allowed: "40 hexadecimal digits; leave the field out for the head of main",
    is: |text| text.len() == 40 && text.chars().all(|c| c.is_ascii_hexdigit()),
};

/// `loadBalancer.healthCheckPath` and its like.
pub(super) const ABSOLUTE_PATH: Form = Form::Like {
    prefix: "/",
    what: "a path",
    allowed: "a path that starts with \"/\"",
    is: |text| text.starts_with('/'),
};

/// `tlsCertificateOutputS3Uri` and its like.
pub(super) const S3_URI: Form = Form::Like {
    prefix: "s3://",
    what: "an S3 URI",
    allowed: "s3://bucket or s3://bucket/prefix",
    is: |text| text.strip_prefix("s3://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')),
};

/// A Route 53 hosted zone.
pub(super) const HOSTED_ZONE: Form = Form::Like {
    prefix: "",
    what: "a hosted zone id",
    allowed: "Z and then capital letters and digits, such as Z0123456789ABC",
    is: |text| {
        let rest = text.strip_prefix('Z').unwrap_or("");
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    },
};

/// The name of an object: a DNS-1123 subdomain.
pub(super) const OBJECT_NAME: Form = Form::Like {
    prefix: "",
    what: "a Kubernetes name (DNS-1123)",
    allowed: "up to 253 lower-case letters, digits, inner hyphens and dots, such as demo-endpoint",
    is: |text| text.len() <= 253 && text.split('.').all(|part| hyphenated(part, 253, lower)),
};

/// The name of a namespace, volume or container: a DNS-1123 label.
pub(super) const LABEL_NAME: Form = Form::Like {
    prefix: "",
    what: "a Kubernetes label name (DNS-1123)",
    allowed: "up to 63 lower-case letters, digits and inner hyphens",
    is: |text| hyphenated(text, 63, lower),
};

/// The name of an environment variable.
pub(super) const VARIABLE: Form = Form::Like {
    prefix: "",
    what: "the name of an environment variable",
    allowed: "printable ASCII characters without \"=\"",
    is: |text| !text.is_empty() && text.chars().all(|c| (' '..='~').contains(&c) && c != '='),
};

/// A string that may not be empty.
pub(super) const FILLED: Form =
    Form::Like { what: "a value", allowed: "a string that is not empty", prefix: "", is: |text| !text.is_empty() };

/// Whether `key` can be the key of a label or annotation: `[prefix/]name`.
pub(super) fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let bounded = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= 63;
    let prefix_fits =
        prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(|part| hyphenated(part, 253, lower)));
    bounded && name.chars().all(inner) && prefix_fits
}

/// Whether `value` can be the value of a label.
pub(super) fn is_label_value(value: &str) -> bool {
    value.is_empty() || (!value.contains('/') && is_qualified_name(value))
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// Characters for which `edge` holds, and hyphens between them.
fn hyphenated(text: &str, longest: usize, edge: fn(char) -> bool) -> bool {
    !text.is_empty()
        && text.len() <= longest
        && text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| edge(c) || c == '-')
}
