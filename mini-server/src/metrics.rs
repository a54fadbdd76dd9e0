//! What the server counts about itself, for Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

/// Counters.
pub struct Metrics {
    /// For each route, by the hundreds of the status.
    routes: Vec<(String, [AtomicU64; 5])>,
    /// Requests that were not slower than each of [`BOUNDS`].
    buckets: [AtomicU64; BOUNDS.len()],
    requests: AtomicU64,
    microseconds: AtomicU64,
    /// Connections.
    pub connections: crate::app::Gauge,
    /// Connections that were turned away because there were too many.
    pub turned_away: AtomicU64,
    /// Bytes of artifacts that went out.
    pub bytes_sent: AtomicU64,
    /// Bytes of artifacts that came in.
    pub bytes_received: AtomicU64,
}

/// Upper bounds of the buckets, microseconds.
const BOUNDS: [u64; 8] = [
    250, 1000, 5000, 25_000, 100_000, 500_000, 2_500_000, 10_000_000,
];

impl Metrics {
    /// Counters for these routes; a further one counts what fits none of them.
    #[must_use]
    pub fn new(routes: impl Iterator<Item = String>) -> Self {
        Self {
            routes: routes
                .chain(["other".to_owned()])
                .map(|route| (route, Default::default()))
                .collect(),
            buckets: Default::default(),
            requests: AtomicU64::new(0),
            microseconds: AtomicU64::new(0),
            connections: crate::app::Gauge::default(),
            turned_away: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
        }
    }

    /// A request of a route (by its number) was answered.
    pub fn answered(&self, route: Option<usize>, status: StatusCode, took: Duration) {
        let route = route
            .and_then(|n| self.routes.get(n))
            .or_else(|| self.routes.last());
        let hundreds = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = route.and_then(|(_, counters)| counters.get(hundreds)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(took, Ordering::Relaxed);
        if let Some(n) = BOUNDS.iter().position(|bound| took <= *bound)
            && let Some(bucket) = self.buckets.get(n)
        {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Everything, as Prometheus reads it; `gauges` are name, labels, help and value.
    #[must_use]
    pub fn render(&self, gauges: &[(&str, &str, &str, u64)]) -> String {
        let mut text = String::new();
        describe(
            &mut text,
            "tandem_http_requests_total",
            "counter",
            "Requests by route and status.",
        );
        for (route, counters) in &self.routes {
            for (n, counter) in counters.iter().enumerate() {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    let class = n.saturating_add(1);
                    line(
                        &mut text,
                        "tandem_http_requests_total",
                        &format!("{{route=\"{route}\",status=\"{class}xx\"}}"),
                        count,
                    );
                }
            }
        }
        let name = "tandem_http_request_duration_seconds";
        describe(&mut text, name, "histogram", "How long answers took.");
        let mut sum: u64 = 0;
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            sum = sum.saturating_add(bucket.load(Ordering::Relaxed));
            let bound = Duration::from_micros(*bound).as_secs_f64();
            line(
                &mut text,
                &format!("{name}_bucket"),
                &format!("{{le=\"{bound}\"}}"),
                sum,
            );
        }
        let requests = self.requests.load(Ordering::Relaxed);
        line(
            &mut text,
            &format!("{name}_bucket"),
            "{le=\"+Inf\"}",
            requests,
        );
        line(&mut text, &format!("{name}_count"), "", requests);
        let seconds =
            Duration::from_micros(self.microseconds.load(Ordering::Relaxed)).as_secs_f64();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}_sum {seconds}");
        for (name, help, counter) in [
            (
                "tandem_connections_turned_away_total",
                "Connections over the limit.",
                &self.turned_away,
            ),
            (
                "tandem_artifact_sent_bytes_total",
                "Bytes of artifacts that went out.",
                &self.bytes_sent,
            ),
            (
                "tandem_artifact_received_bytes_total",
                "Bytes of artifacts that came in.",
                &self.bytes_received,
            ),
        ] {
            describe(&mut text, name, "counter", help);
            line(&mut text, name, "", counter.load(Ordering::Relaxed));
        }
        describe(&mut text, "tandem_connections", "gauge", "Connections.");
        line(&mut text, "tandem_connections", "", self.connections.get());
        let mut last = "";
        for (name, labels, help, value) in gauges {
            if last != *name {
                describe(&mut text, name, "gauge", help);
            }
            last = name;
            line(&mut text, name, labels, *value);
        }
        text
    }
}

fn describe(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: u64) {
    let _ = writeln!(text, "{name}{labels} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_status_and_duration() {
        let metrics = Metrics::new(["GET /a".to_owned()].into_iter());
        metrics.answered(Some(0), StatusCode::OK, Duration::from_micros(100));
        metrics.answered(Some(0), StatusCode::OK, Duration::from_millis(2));
        metrics.answered(None, StatusCode::NOT_FOUND, Duration::from_secs(60));
        let text = metrics.render(&[("g", "{a=\"1\"}", "G.", 1), ("g", "{a=\"2\"}", "G.", 2)]);
        for line in [
            "tandem_http_requests_total{route=\"GET /a\",status=\"2xx\"} 2",
            "tandem_http_requests_total{route=\"other\",status=\"4xx\"} 1",
            "tandem_http_request_duration_seconds_bucket{le=\"0.00025\"} 1",
            "tandem_http_request_duration_seconds_bucket{le=\"0.005\"} 2",
            "tandem_http_request_duration_seconds_bucket{le=\"10\"} 2",
            "tandem_http_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "tandem_http_request_duration_seconds_sum 60.0021",
            "g{a=\"2\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert_eq!(text.matches("# TYPE g gauge").count(), 1);
    }
}
