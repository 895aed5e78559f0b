use std::time::Duration;

use tidegate_core::plan::Proxy;
use tidegate_scaler::{
    sources::envoy::{Scrape, ScrapeError, Scraper},
    store::Series,
};

use crate::server::{
    Behaviour::{Answer, AnswerAndClose, Silence},
    Server, answer,
};

const RULE: &str = "httproute/shop/web/rule/0";
/// A series that every Envoy of Envoy Gateway shows: the cluster through which it is scraped.
const OWN: &str = "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"prometheus_stats\"} 7\n";
const METRICS: &str = "# TYPE envoy_cluster_upstream_rq_total counter\n\
    envoy_cluster_upstream_rq_total{envoy_cluster_name=\"httproute/shop/web/rule/0\"} 42\n";

fn scraper() -> Scraper {
    Scraper::new(Duration::from_millis(500), Duration::from_millis(500))
}

async fn scrape(scraper: &Scraper, server: &Server) -> Result<Scrape, ScrapeError> {
    let proxy = Proxy { name: "eg/proxy".into(), stats: server.address, ready: true, fleet: None };
    scraper.scrape(&proxy, &Series::of([RULE])).await
}

async fn error(server: &Server) -> String {
    scrape(&scraper(), server).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_nine_series_and_over_one_connection() {
    let server = Server::that(Answer(answer("200 OK", METRICS))).await;
    let scraper = scraper();
    for _ in 0..3 {
        assert_eq!(scrape(&scraper, &server).await.unwrap().sample.clusters()[0].1.requests, 42.0);
    }
    assert_eq!(*server.connections.lock().unwrap(), 1);
    let request = server.last_request();
    assert!(request.starts_with("GET /stats/prometheus?usedonly&filter="), "{request}");
}

#[tokio::test]
async fn a_proxy_that_closes_its_connections_is_asked_over_new_ones() {
    let server = Server::that(AnswerAndClose(answer("200 OK", METRICS))).await;
    let scraper = scraper();
    for _ in 0..3 {
        assert!(scrape(&scraper, &server).await.is_ok());
    }
}

#[tokio::test]
async fn a_proxy_without_traffic_shows_itself_and_nothing_else_and_that_is_an_answer() {
    let server = Server::that(Answer(answer("200 OK", OWN))).await;
    assert_eq!(scrape(&scraper(), &server).await.unwrap().sample.clusters(), []);
}

#[tokio::test]
async fn a_page_with_status_200_that_is_no_envoys_is_no_sample() {
    for page in ["", "\n", "up 1\n", "# HELP nothing\n", "vllm:prompt_tokens_total{model_name=\"m\"} 3\n"] {
        let server = Server::that(Answer(answer("200 OK", page))).await;
        assert!(error(&server).await.contains("not an Envoy of Envoy Gateway"), "{page}");
    }
}

#[tokio::test]
async fn a_page_that_is_cut_off_in_a_line_is_no_sample_where_nothing_says_how_long_it_is() {
    let page = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{OWN}{METRICS}");
    let server = Server::that(AnswerAndClose(page.as_bytes()[..page.len() - 2].to_vec())).await;
    assert!(error(&server).await.ends_with("was cut off in the middle of a line"));
    server.becomes(AnswerAndClose(page.into_bytes()));
    assert!(scrape(&scraper(), &server).await.is_ok());
}

#[tokio::test]
async fn a_number_that_no_envoy_can_have_is_no_sample() {
    for number in ["NaN", "-4", "+Inf"] {
        let page = METRICS.replace("} 42", &format!("}} {number}"));
        let server = Server::that(Answer(answer("200 OK", &page))).await;
        assert!(error(&server).await.ends_with(&format!("a number that no Envoy can have: {number}")));
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let server = Server::that(Silence).await;
    let wanted = format!("no answer from http://{}/stats/prometheus within 500ms", server.address);
    assert_eq!(error(&server).await, wanted);
}

#[tokio::test]
async fn nobody_at_the_address_is_reported_with_what_may_be_in_the_way() {
    let server = Server::that(Silence).await;
    let proxy = Proxy { name: "eg/proxy".into(), stats: ([127, 0, 0, 1], 1).into(), ready: true, fleet: None };
    let error = scraper().scrape(&proxy, &Series::of([RULE])).await.unwrap_err().to_string();
    assert!(error.contains("cannot connect to http://127.0.0.1:1/stats/prometheus"), "{error}");
    assert!(error.contains("NetworkPolicy"), "{error}");
    drop(server);
}

#[tokio::test]
async fn another_status_than_200_is_no_sample() {
    let server = Server::that(Answer(answer("503 Service Unavailable", METRICS))).await;
    assert!(error(&server).await.ends_with("answered 503 Service Unavailable, wants 200"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_sample() {
    let whole = answer("200 OK", METRICS);
    let server = Server::that(AnswerAndClose(whole[..whole.len() - 5].to_vec())).await;
    assert!(error(&server).await.contains("broke off"));
}

#[tokio::test]
async fn a_page_of_html_is_no_sample() {
    let server = Server::that(Answer(answer("200 OK", "<html>\nnot found\n</html>"))).await;
    assert!(error(&server).await.contains("answered something else than Prometheus metrics: <html>"));
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let line = "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"x\"} 1\n";
    let server = Server::that(Answer(answer("200 OK", &line.repeat((65 << 20) / line.len())))).await;
    let patient = Scraper::new(Duration::from_secs(5), Duration::from_secs(30));
    let error = scrape(&patient, &server).await.unwrap_err().to_string();
    assert!(error.ends_with("answered more than 64 MiB"), "{error}");
}
