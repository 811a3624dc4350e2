//! `GET /sandboxes/{id}/metrics` and `…/ports`: what is measured in a sandbox. Neither wakes one, nor is activity.

use std::time::Duration;

use axum::extract::State as Extracted;
use miosa_agent::protocol::Usage;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Sandbox;
use super::measures::{self, EVERY, Sample};
use super::transition::not_running;
use crate::app::App;
use crate::http::{Answer, ApiError, ApiResult, Params, Scoped};

/// The longest window that can be asked for: a week.
const LONGEST: u64 = 7 * 24 * 3600;

/// The query.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct MetricsQuery {
    window: Option<String>,
}

/// Seconds of `90s`, `15m`, `1h` or `7d`.
fn seconds(window: &str) -> ApiResult<u64> {
    let unit = |suffix| window.strip_suffix(suffix);
    let (number, each) = match (unit('s'), unit('m'), unit('h'), unit('d')) {
        (Some(number), ..) => (number, 1),
        (_, Some(number), ..) => (number, 60),
        (_, _, Some(number), _) => (number, 3600),
        (.., Some(number)) => (number, 24 * 3600),
        _ => (window, 0),
    };
    let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(each));
    seconds.filter(|seconds| (1..=LONGEST).contains(seconds)).ok_or_else(|| {
        ApiError::parameter("window", "must be like 90s, 15m, 1h or 7d, a week at most")
    })
}

/// `GET …/metrics` (miosa-python 2.19, miosa-cli).
pub async fn metrics(
    Extracted(app): Extracted<App>,
    sandbox: Scoped<Sandbox>,
    Params(query): Params<MetricsQuery>,
) -> ApiResult<Answer> {
    let window = query.window.filter(|window| !window.is_empty()).unwrap_or_else(|| "1h".into());
    let length = Duration::from_secs(seconds(&window)?);
    if sandbox.runs() {
        measures::sample(&app, sandbox.id).await;
    }
    let samples = app.measures.within(sandbox.id, length);
    let now = app.clock.now(sandbox.org);
    let series = |of: &dyn Fn(&Usage) -> Value| -> Vec<Value> {
        samples.iter().map(|sample| of(&sample.usage)).collect()
    };
    let cpu: Vec<Value> = std::iter::once(None)
        .chain(samples.windows(2).map(|pair| match pair {
            [earlier, later] => later.cpu_percent_since(earlier),
            _ => None,
        }))
        .take(samples.len())
        .map(|percent| json!(percent))
        .collect();
    let times: Vec<Value> = samples
        .iter()
        .map(|sample| {
            let ago = i64::try_from(sample.at.elapsed().as_millis()).unwrap_or(i64::MAX);
            json!(crate::clock::Timestamp(now.0.saturating_sub(ago)))
        })
        .collect();
    // A sandbox that does not run uses nothing that could be measured.
    let last = samples.last().filter(|_| sandbox.runs());
    let present =
        |of: fn(&Usage) -> Value| last.map_or(Value::Null, |sample: &Sample| of(&sample.usage));
    Answer::ok(&json!({
        "resource_type": "sandbox",
        "sandbox_id": sandbox.id,
        "window": window,
        "sample_interval_sec": EVERY.as_secs(),
        "current": {
            "state": sandbox.state.as_str(),
            "ready": sandbox.ready(),
            "cpu_count": sandbox.shape.vcpus,
            "memory_mb": sandbox.shape.memory_mb,
            "cpu_percent": last.and_then(|_| cpu.last()),
            "memory_used_mb": present(|usage| json!(megabytes(usage))),
            "processes": present(|usage| json!(usage.processes)),
            "network_rx_bytes": present(|usage| json!(usage.network_rx_bytes)),
            "network_tx_bytes": present(|usage| json!(usage.network_tx_bytes)),
        },
        "series": {
            "timestamps": times,
            "cpu_percent": cpu,
            "memory_mb": series(&|usage| json!(megabytes(usage))),
            "processes": series(&|usage| json!(usage.processes)),
            "network_rx_bytes": series(&|usage| json!(usage.network_rx_bytes)),
            "network_tx_bytes": series(&|usage| json!(usage.network_tx_bytes)),
        },
    }))
}

fn megabytes(usage: &Usage) -> u64 {
    usage.memory_bytes.div_ceil(1 << 20)
}

/// `GET …/ports` (miosa-cli): what listens inside now.
pub async fn ports(Extracted(app): Extracted<App>, sandbox: Scoped<Sandbox>) -> ApiResult<Answer> {
    if !sandbox.runs() {
        return Err(not_running(&sandbox));
    }
    let ports = app.machines.agent(sandbox.id)?.ports().await?.ports;
    let shown: Vec<Value> = ports
        .iter()
        .map(|port| {
            json!({
                "protocol": port.protocol,
                "state": "listening",
                "address": port.address,
                "port": port.port,
                "process": port.pid.map(|pid| json!({ "name": port.process, "pid": pid.to_string() })),
            })
        })
        .collect();
    Answer::ok(&json!({ "sandbox_id": sandbox.id, "count": shown.len(), "ports": shown }))
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_window_has_a_unit_and_an_end() {
        for (text, expected) in [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(seconds(text).unwrap(), expected);
        }
        for bad in ["", "h", "1", "0s", "-1h", "8d", "1w", "99999999999999999999d", "1é"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
