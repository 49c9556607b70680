//! What a schema table can say about a field.

use super::ApiVersion;

/// An object and the fields it may have.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) fields: &'static [Field],
    /// Whether other fields are let through unchecked: Kubernetes' own deep structures, of which only the key parts
    /// are in the table, and structures whose full list of fields is not published.
    pub(super) open: bool,
}

impl Object {
    /// An object with these fields and no others.
    pub(super) const fn closed(fields: &'static [Field]) -> Self {
        Self { fields, open: false }
    }

    /// An object of which only these fields are checked.
    pub(super) const fn open(fields: &'static [Field]) -> Self {
        Self { fields, open: true }
    }
}

/// One field of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) need: Need,
    pub(super) since: Since,
}

/// A field that may be left out, known in both versions.
pub(super) const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, need: Need::Optional, since: Since::Both }
}

impl Field {
    /// Kubernetes requires it, a simulation does not.
    pub(super) const fn kubectl(mut self) -> Self {
        self.need = Need::Kubectl;
        self
    }

    /// Nothing works without it.
    pub(super) const fn required(mut self) -> Self {
        self.need = Need::Required;
        self
    }

    /// Only in the `v1` schema.
    pub(super) const fn v1(mut self) -> Self {
        self.since = Since::V1;
        self
    }

    /// Only in the `v1alpha1` schema.
    pub(super) const fn alpha(mut self) -> Self {
        self.since = Since::Alpha;
        self
    }

    /// Added by this operator version, after the schema in the tables; accepted in any form.
    pub(super) const fn newer(name: &'static str, operator: &'static str) -> Self {
        Self { name, kind: Kind::Anything, need: Need::Optional, since: Since::Operator(operator) }
    }

    pub(super) fn exists_in(&self, version: ApiVersion) -> bool {
        match self.since {
            Since::Both => true,
            Since::V1 | Since::Operator(_) => version == ApiVersion::V1,
            Since::Alpha => version == ApiVersion::V1Alpha1,
        }
    }
}

/// Who misses a field that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Optional,
    Kubectl,
    Required,
}

/// Which schemas have a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    Both,
    V1,
    Alpha,
    Operator(&'static str),
}

/// The type of a field's value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text(Form),
    Texts(Form),
    Whole {
        min: i64,
        max: i64,
    },
    Bool,
    Object(&'static Object),
    List(&'static Object),
    /// Names to strings: labels, annotations, selectors.
    TextMap,
    /// Names to Kubernetes quantities: `limits` and `requests`.
    Quantities,
    /// A port by number or by name.
    Port,
    /// An object with any content.
    AnyObject,
    /// A list of objects with any content.
    AnyList,
    /// Not looked at.
    Anything,
}

/// Which strings are allowed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Any,
    /// One of a few words, in exactly this case.
    Words {
        what: &'static str,
        words: &'static [&'static str],
    },
    /// One of a few words, in any case.
    AnyCase {
        what: &'static str,
        words: &'static [&'static str],
    },
    /// A shape: what it is called, how it is described to the user, the beginning that people forget (may be empty),
    /// and how it is recognised.
    Like {
        what: &'static str,
        allowed: &'static str,
        prefix: &'static str,
        is: fn(&str) -> bool,
    },
}

impl Kind {
    /// What the value should be, for messages.
    pub(super) fn expected(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Texts(_) => "a list of strings",
            Self::Whole { .. } => "a whole number",
            Self::Bool => "a boolean",
            Self::Object(_) | Self::AnyObject => "an object",
            Self::List(_) | Self::AnyList => "a list of objects",
            Self::TextMap => "an object of strings",
            Self::Quantities => "an object of quantities",
            Self::Port => "a port number or name",
            Self::Anything => "any value",
        }
    }
}
