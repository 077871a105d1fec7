//! How busy the machine is.

/// The number of runnable processes per processor, proc_loadavg(5): all work takes that many times
/// longer.
pub(crate) fn factor() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").expect("it can be read");
    let load: f64 = text
        .split(' ')
        .next()
        .and_then(|figure| figure.parse().ok())
        .expect("a number");
    let processors = std::thread::available_parallelism().expect("there is one");
    (1.0 + load / processors.get() as f64).min(20.0)
}
