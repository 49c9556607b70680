//! `--strategy`: the names, what each stands for in a line, and names that stand for several.

use crate::suggest;
use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command, Error};
use router::Strategy;
use std::ffi::OsStr;

/// What a name on the command line stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    One(Strategy),
    All,
    HyperPod,
}

impl Named {
    const SEVERAL: [Self; 2] = [Self::All, Self::HyperPod];

    pub(super) fn strategies(self) -> Vec<Strategy> {
        match self {
            Self::One(strategy) => vec![strategy],
            Self::All => Strategy::ALL.to_vec(),
            Self::HyperPod => Strategy::COMPATIBLE.to_vec(),
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::One(strategy) => strategy.as_str(),
            Self::All => "all",
            Self::HyperPod => "hyperpod",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::One(strategy) => in_a_line(strategy),
            Self::All => "every strategy, one run each",
            Self::HyperPod => "the first four",
        }
    }
}

/// What a strategy goes by.
const fn in_a_line(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::RoundRobin => "HyperPod's: each worker in turn",
        Strategy::PrefixAware => "HyperPod's: who was sent the longest prefix; reads no load, forgets nothing",
        Strategy::KvAware => "HyperPod's: whom LMCache's controller names first; not for chat",
        Strategy::Session => "HyperPod's: the session's worker, else the lowest rate",
        Strategy::Random => "any worker",
        Strategy::LeastLoaded => "the fewest requests in flight",
        Strategy::TwoChoices => "the less loaded of two drawn ones",
        Strategy::SessionPlus => "the session's worker, unless it has far more than its share",
        Strategy::PrefixAwarePlus => "the longest prefix sent, unless its worker is overloaded or the prefix is hot",
        Strategy::KvAwarePlus => "the fewest tokens to compute, queued ones and all tiers counted",
        Strategy::PredictedTtft => "the least expected time to first token, and what it costs others",
    }
}

/// Reads names of single strategies, or, with `several`, of several too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub(super) several: bool,
}

impl Names {
    fn all(self) -> impl Iterator<Item = Named> {
        let several: &[Named] = if self.several { &Named::SEVERAL } else { &[] };
        Strategy::ALL.into_iter().map(Named::One).chain(several.iter().copied())
    }

    fn find(self, name: &str) -> Result<Named, String> {
        self.all().find(|named| named.as_str() == name).ok_or_else(|| {
            let names: Vec<&str> = self.all().map(Named::as_str).collect();
            format!("there is {}{}", names.join(", "), suggest::clause(name, names.iter().copied()))
        })
    }
}

impl TypedValueParser for Names {
    type Value = Named;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Named, Error> {
        let names = *self;
        let find = move |name: &str| names.find(name.trim());
        find.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.all().map(|named| PossibleValue::new(named.as_str()).help(named.help()))))
    }
}
