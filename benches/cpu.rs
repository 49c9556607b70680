//! Criterion by CPU time: the machine may be shared.

use criterion::measurement::{Measurement, ValueFormatter};
use nix::sys::resource::{UsageWho, getrusage};
use std::time::Duration;

/// User and system time of this process.
pub(crate) struct CpuTime;

fn cpu_now() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel counts CPU time");
    let time = |value: nix::sys::time::TimeVal| {
        Duration::from_secs(value.tv_sec() as u64) + Duration::from_micros(value.tv_usec() as u64)
    };
    time(usage.user_time()) + time(usage.system_time())
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu_now()
    }
    fn end(&self, started: Duration) -> Duration {
        cpu_now() - started
    }
    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }
    fn zero(&self) -> Duration {
        Duration::ZERO
    }
    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_secs_f64() * 1e9
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        criterion::measurement::WallTime.formatter_static()
    }
}

/// Criterion's own formatter of nanoseconds.
trait FormatterStatic {
    fn formatter_static(&self) -> &'static dyn ValueFormatter;
}

impl FormatterStatic for criterion::measurement::WallTime {
    fn formatter_static(&self) -> &'static dyn ValueFormatter {
        static CLOCK: criterion::measurement::WallTime = criterion::measurement::WallTime;
        CLOCK.formatter()
    }
}
