//! What is counted, and how `/metrics` tells it (`OpenMetrics`).
//!
//! All of it is the loop's own, so counting is an addition; what others know already (the hub, the store, the engine) is
//! asked when somebody wants to know.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::core::Core;
use crate::endpoint::Connections;
use crate::handshake::Response;
use crate::push::{ChannelName, Namespaces};

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// By [`label`].
    namespaces: BTreeMap<Box<str>, Traffic>,
    /// By close code.
    disconnects: BTreeMap<u16, u64>,
    /// By their code in the client protocol.
    command_errors: BTreeMap<u32, u64>,
    /// By method and status.
    api_requests: BTreeMap<(&'static str, u16), u64>,
    deliveries: Histogram,
    commits: Histogram,
}

#[derive(Debug, Default)]
struct Traffic {
    publications: u64,
    deliveries: u64,
}

/// How often something took how long.
#[derive(Clone, Debug, Default)]
struct Histogram {
    /// How many there were in each of [`BOUNDS`], and above.
    counts: [u64; BOUNDS.len() + 1],
    /// Seconds, all together.
    sum: f64,
}

/// Upper bounds, in seconds.
const BOUNDS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

impl Histogram {
    fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.counts[BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len())] += 1;
        self.sum += seconds;
    }
}

impl Metrics {
    /// A publication went out to so many, so long after it was published.
    pub(super) fn delivered(&mut self, known: &Namespaces, channel: &str, receivers: usize, after: Duration) {
        let namespace = label(known, ChannelName::parse(channel).namespace.unwrap_or_default());
        let traffic = match self.namespaces.get_mut(namespace) {
            Some(traffic) => traffic,
            None => self.namespaces.entry(namespace.into()).or_default(),
        };
        traffic.publications += 1;
        traffic.deliveries += receivers as u64;
        self.deliveries.observe(after);
    }

    /// The server has sent somebody away.
    pub(super) fn disconnected(&mut self, code: u16) {
        *self.disconnects.entry(code).or_default() += 1;
    }

    /// A command of a client was answered with an error.
    pub(super) fn command_error(&mut self, code: u32) {
        // A backend may have codes of its own; nobody can make it have very many.
        *self.command_errors.entry(code).or_default() += 1;
    }

    /// A request of the server API was answered.
    pub(super) fn api_request(&mut self, method: &'static str, status: u16) {
        *self.api_requests.entry((method, status)).or_default() += 1;
    }

    /// A record is on disk, so long after the store was given it.
    pub(super) fn committed(&mut self, after: Duration) {
        self.commits.observe(after);
    }
}

/// The name of a namespace for those who read figures: empty for channels without one, and `*` for all that have no options
/// of their own, whose names are anybody's choice.
fn label<'a>(known: &Namespaces, namespace: &'a str) -> &'a str {
    if namespace.is_empty() || known.named.contains_key(namespace) { namespace } else { "*" }
}

/// All figures, as a scraper reads them.
pub(super) fn tell(core: &Core, connections: &mut Connections<'_>) -> Response {
    let mut registry = Registry::with_prefix("loopwire");
    registry.register_collector(Box::new(Figures::collect(core, connections)));
    let mut out = String::new();
    match text::encode(&mut out, &registry) {
        Ok(()) => Response::new(200).with_body("application/openmetrics-text; version=1.0.0; charset=utf-8", out),
        Err(error) => {
            log::error!("the metrics cannot be written: {error}");
            Response::new(500)
        }
    }
}

/// The figures of one moment.
#[derive(Debug, Default)]
struct Figures(Vec<Figure>);

#[derive(Debug)]
struct Figure {
    name: &'static str,
    help: &'static str,
    values: Values,
}

#[derive(Debug)]
enum Values {
    /// Counters or gauges.
    Numbers(MetricType, Vec<(Labels, u64)>),
    Histogram(Histogram),
}

type Labels = Vec<(&'static str, String)>;

impl Figures {
    fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.0.push(Figure { name, help, values: Values::Numbers(MetricType::Counter, vec![(Labels::new(), value)]) });
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, value: usize) {
        self.0.push(Figure {
            name,
            help,
            values: Values::Numbers(MetricType::Gauge, vec![(Labels::new(), value as u64)]),
        });
    }

    fn family<K>(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl IntoIterator<Item = (K, u64)>,
        labels: impl Fn(K) -> Labels,
    ) {
        let values = values.into_iter().map(|(key, value)| (labels(key), value)).collect();
        self.0.push(Figure { name, help, values: Values::Numbers(MetricType::Counter, values) });
    }

    fn collect(core: &Core, connections: &mut Connections<'_>) -> Self {
        let mut figures = Self::default();
        figures.hub(core);
        figures.queues(core, connections);
        figures.refusals(&core.metrics);
        figures.latencies(&core.metrics);
        figures.engine(connections);
        figures
    }

    fn hub(&mut self, core: &Core) {
        let counts = core.hub.counts();
        self.gauge("clients", "Clients that are connected", counts.sessions);
        self.gauge("users", "Users with a connection", counts.users);
        self.gauge("channels", "Channels with a subscriber or a history", counts.channels);
        self.gauge("history_publications", "Publications kept", counts.publications);
        self.gauge("history_bytes", "Bytes of data in them", counts.publication_bytes);
        let of_namespace = |namespace: &str| vec![("namespace", namespace.to_owned())];
        let known = &core.hub.config().namespaces;
        let mut subscriptions = BTreeMap::<_, u64>::new();
        for (name, count) in core.hub.subscriptions_by_namespace() {
            *subscriptions.entry(label(known, name)).or_default() += count as u64;
        }
        let subscriptions = subscriptions.into_iter().map(|(name, count)| (of_namespace(name), count)).collect();
        self.0.push(Figure {
            name: "subscriptions",
            help: "Subscriptions to channels of a namespace",
            values: Values::Numbers(MetricType::Gauge, subscriptions),
        });
        let traffic = || core.metrics.namespaces.iter();
        let publications = traffic().map(|(name, traffic)| (&**name, traffic.publications));
        self.family("publications", "Publications to channels of a namespace", publications, of_namespace);
        let deliveries = traffic().map(|(name, traffic)| (&**name, traffic.deliveries));
        self.family("deliveries", "Publications times those they were sent to", deliveries, of_namespace);
    }

    fn queues(&mut self, core: &Core, connections: &mut Connections<'_>) {
        self.gauge("store_waiting", "Records that are not on disk yet", core.unwritten.len());
        self.gauge("store_waiting_bytes", "Bytes of them, about", core.unwritten.bytes());
        self.gauge("store_failing", "1 if the store cannot write", usize::from(core.store_failing));
        self.gauge("publications_waiting", "Publications that wait for the store", core.hub.counts().waiting);
        self.gauge("hooks_waiting", "Questions that wait for their turn at a backend", core.hooks.waiting());
        self.gauge("hooks_unanswered", "Questions to backends without an answer yet", core.questions.len());
        self.gauge("api_waiting", "Requests of the server API that wait for the store", core.api.waiting());
        let ids: Vec<_> = connections.ids().collect();
        let buffered = ids.into_iter().filter_map(|id| Some(connections.get(id)?.buffered_amount())).sum();
        self.gauge("buffered_bytes", "Bytes that wait to be sent to clients", buffered);
    }

    fn refusals(&mut self, metrics: &Metrics) {
        let by_code = |code: String| vec![("code", code)];
        let disconnects = metrics.disconnects.iter().map(|(code, count)| (code.to_string(), *count));
        self.family("disconnects", "Clients sent away, by close code", disconnects, by_code);
        let errors = metrics.command_errors.iter().map(|(code, count)| (code.to_string(), *count));
        self.family("command_errors", "Commands of clients answered with an error, by its code", errors, by_code);
        let requests = metrics.api_requests.iter().map(|(key, count)| (key, *count));
        self.family("api_requests", "Requests of the server API", requests, |(method, status)| {
            vec![("method", (*method).to_owned()), ("status", status.to_string())]
        });
    }

    fn latencies(&mut self, metrics: &Metrics) {
        let mut histogram = |name, help, histogram: &Histogram| {
            self.0.push(Figure { name, help, values: Values::Histogram(histogram.clone()) });
        };
        histogram("delivery_seconds", "From a publish to its sending", &metrics.deliveries);
        histogram("commit_seconds", "From a record's handing over to its being on disk", &metrics.commits);
    }

    fn engine(&mut self, connections: &Connections<'_>) {
        let engine = connections.metrics();
        self.gauge("connections", "WebSockets that are open", usize::try_from(engine.connections_open).unwrap_or(0));
        let counters = [
            ("connections_opened", "WebSockets ever opened", engine.connections_total),
            ("requests_refused", "Connections refused before anybody was asked", engine.requests_refused),
            ("handshakes_refused", "Valid opening handshakes refused all the same", engine.handshakes_refused),
            ("http_requests", "Plain HTTP requests", engine.http_requests),
            ("messages_received", "Messages received", engine.messages_in),
            ("received_bytes", "Bytes in them, uncompressed", engine.bytes_in),
            ("messages_sent", "Messages queued to be sent", engine.messages_out),
            ("sent_bytes", "Bytes in them, uncompressed", engine.bytes_out),
            ("messages_dropped", "Messages for connections that could not be sent to", engine.messages_dropped),
            ("backpressure", "Messages to connections at their high-water mark", engine.backpressure),
            ("protocol_errors", "WebSockets that broke a rule or let a deadline pass", engine.protocol_errors),
        ];
        for (name, help, value) in counters {
            self.counter(name, help, value);
        }
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for figure in &self.0 {
            let values = &figure.values;
            let metric = encoder.encode_descriptor(figure.name, figure.help, None, values.metric_type())?;
            values.encode(metric)?;
        }
        Ok(())
    }
}

impl EncodeMetric for Values {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Numbers(kind, values) => values.iter().try_for_each(|(labels, value)| {
                if labels.is_empty() {
                    number(&mut encoder, *kind, *value)
                } else {
                    number(&mut encoder.encode_family(labels)?, *kind, *value)
                }
            }),
            Self::Histogram(Histogram { counts, sum }) => {
                let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
                let buckets: Vec<_> = bounds.zip(counts.iter().copied()).collect();
                encoder.encode_histogram::<NoLabelSet>(*sum, counts.iter().sum(), &buckets, None)
            }
        }
    }

    fn metric_type(&self) -> MetricType {
        match self {
            Self::Numbers(kind, _) => *kind,
            Self::Histogram(_) => MetricType::Histogram,
        }
    }
}

fn number(encoder: &mut MetricEncoder<'_>, kind: MetricType, value: u64) -> fmt::Result {
    match kind {
        MetricType::Counter => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
        _ => encoder.encode_gauge(&value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_up_to_its_bound_and_beyond_all_of_them() {
        let mut histogram = Histogram::default();
        for seconds in [0.0, 0.000_1, 0.000_11, 5.0, 5.1] {
            histogram.observe(Duration::from_secs_f64(seconds));
        }
        assert_eq!((histogram.counts[0], histogram.counts[1]), (2, 1));
        assert_eq!((histogram.counts[13], histogram.counts[14]), (1, 1));
    }
}
