//! What a pod asks for and is given.

use super::{accepted, refuses, with};

#[test]
fn quantities_and_pairs() {
    let limits = "resources: {limits: {nvidia.com/gpu: 4}}";
    refuses(&[
        (
            limits,
            "resources: {limits: {memory: 30GB}}",
            "e.yaml:25:34: spec.worker.resources.limits.memory: \"30GB\" is not a quantity; allowed: a number with an \
             optional suffix n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei; did you mean \"30G\"?",
        ),
        (
            limits,
            "resources: {limits: {cpu: 1.5}}",
            "e.yaml:25:31: spec.worker.resources.limits.cpu: 1.5 is a number with a fraction or an exponent, which the \
             schema does not take as a quantity; allowed: a string or a whole number; did you mean \"1.5\"?",
        ),
        (
            limits,
            "resources: {limits: {nvidia.com/gpu: 4}, requests: {nvidia.com/gpu: 2}}",
            "e.yaml:25:73: spec.worker.resources.requests[\"nvidia.com/gpu\"]: 2 differs from the limit 4 (line 25); \
             allowed: the same number",
        ),
        (
            limits,
            "resources: {requests: {nvidia.com/gpu: 2}}",
            "e.yaml:25:44: spec.worker.resources.requests[\"nvidia.com/gpu\"]: Kubernetes demands a limit for \
             \"nvidia.com/gpu\"; allowed: spec.worker.resources.limits[\"nvidia.com/gpu\"]: 2",
        ),
        (
            limits,
            "resources: {limits: {nvidia.com/gpu: 500m}}",
            "e.yaml:25:42: spec.worker.resources.limits[\"nvidia.com/gpu\"]: \"500m\" is not a whole number of \
             devices; allowed: 0, 1, 2, ...",
        ),
        (
            limits,
            "resources: {limits: {cpu: 1}, requests: {cpu: 1001m}}",
            "e.yaml:25:51: spec.worker.resources.requests.cpu: \"1001m\" is above the limit 1 (line 25); allowed: up \
             to the limit",
        ),
        (
            limits,
            "resources: {limits: {cpu: \"-1\"}}",
            "e.yaml:25:31: spec.worker.resources.limits.cpu: \"-1\" is negative; allowed: 0 or more",
        ),
    ]);
    for (cpu, millis) in
        [("6", 6_000), ("\"0.5\"", 500), ("100u", 1), ("1e3", 1_000_000), ("2k", 2_000_000), (".5", 500)]
    {
        let cpu = if cpu.starts_with(['1', '.']) { format!("\"{cpu}\"") } else { cpu.to_owned() };
        let new = format!("resources: {{requests: {{cpu: {cpu}}}}}");
        assert_eq!(accepted(with(limits, &new)).0.pod_cpu_millis, Some(millis), "for {cpu}");
    }
    for (memory, bytes) in [("30Gi", 30 << 30), ("30G", 30_000_000_000), ("1500m", 2), ("1.5Ki", 1536), ("1024", 1024)]
    {
        let new = format!("resources: {{limits: {{memory: {memory}}}}}");
        assert_eq!(accepted(with(limits, &new)).0.pod_memory_bytes, Some(bytes), "for {memory}");
    }
    for wrong in ["", ".", "1.2.3", "1e", "1e99", "12345678901234567890E", "Gi", "1 Gi", "++1", "0x10", "１"] {
        let new = format!("resources: {{limits: {{memory: {wrong:?}}}}}");
        assert!(with(limits, &new).is_err(), "{wrong:?} must be refused");
    }
}
