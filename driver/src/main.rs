//! podlab: a laboratory for tiered KV caching and request routing in LLM serving.

fn main() -> std::process::ExitCode {
    driver::cli::main()
}
