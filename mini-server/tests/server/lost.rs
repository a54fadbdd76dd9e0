//! Devices that begin a deployment and are not heard of any more.

use serde_json::{Value, json};

use crate::harness::{Server, wait_until};
use crate::rollouts::{check, deploy, fleet, offered, report, shown};

fn rollout(server: &Server, id: &str) -> Value {
    shown(server, id)["rollout"].clone()
}

#[test]
fn a_device_that_is_not_heard_of_gives_its_place_up_and_may_come_back() {
    let (mut server, devices) = fleet(3);
    let id = deploy(
        &server,
        json!({"max_concurrent": 1, "lost_after_seconds": 6}),
    );
    assert_eq!(offered(&server, &devices), [0]);
    report(&server, &devices, &[0], &id, "downloading");
    // Nobody else has its place as long as it may still be there.
    assert_eq!(offered(&server, &devices[1..]), [0_usize; 0]);
    wait_until("the loss", || rollout(&server, &id)["lost"] == 1);
    assert_eq!(rollout(&server, &id)["active"], 0);
    let status = server.status_on(&id, &devices[0]);
    assert_eq!(status["status"], "downloading");
    let why = status["substate"].as_str().unwrap();
    assert!(why.starts_with("nothing heard for 6s"), "{why}");
    // That is in the database.
    server.kill();
    server.restart();
    assert_eq!(offered(&server, &devices[1..]), [0]);
    // It is back, has no place, and waits; what it reports is taken down all the same.
    assert_eq!(offered(&server, &devices[..1]), [0_usize; 0]);
    report(&server, &devices, &[0], &id, "installing");
    assert_eq!(server.status_on(&id, &devices[0])["status"], "installing");
    let goes = rollout(&server, &id);
    assert_eq!((&goes["active"], &goes["lost"]), (&json!(1), &json!(1)));
    report(&server, &devices, &[1], &id, "success");
    // Now there is a place for it, which nobody else gets.
    assert_eq!(offered(&server, &devices), [0]);
    let goes = rollout(&server, &id);
    assert_eq!((&goes["active"], &goes["lost"]), (&json!(1), &json!(0)));
    report(&server, &devices, &[0], &id, "success");
    assert_eq!(offered(&server, &devices), [2]);
    report(&server, &devices, &[2], &id, "success");
    let all = shown(&server, &id);
    assert_eq!(
        (&all["status"], &all["statistics"]["status"]["success"]),
        (&json!("finished"), &json!(3))
    );
}

#[test]
fn lost_devices_stop_a_deployment_only_where_somebody_says_so_and_a_late_report_is_the_truth() {
    let (server, devices) = fleet(4);
    let stop = |lost: bool| json!({"count": 1, "lost": lost});
    let id = deploy(
        &server,
        json!({"max_concurrent": 1, "lost_after_seconds": 1, "stop_on_failures": stop(false)}),
    );
    assert_eq!(offered(&server, &devices[..1]), [0]);
    wait_until("the loss", || rollout(&server, &id)["lost"] == 1);
    assert_eq!(rollout(&server, &id)["paused"], false);
    report(&server, &devices, &[0], &id, "failure");
    let goes = rollout(&server, &id);
    assert_eq!(
        (&goes["paused_by"], &goes["lost"]),
        (&json!("failures"), &json!(0))
    );

    let id = deploy(
        &server,
        json!({"name": "strict", "lost_after_seconds": 1, "stop_on_failures": stop(true)}),
    );
    assert_eq!(offered(&server, &devices[1..2]), [0]);
    wait_until("the stop", || {
        rollout(&server, &id)["paused_by"] == "failures"
    });
    let why = rollout(&server, &id)["holding"].clone();
    assert_eq!(why, "the deployment stopped itself: it lost 1 device");
    assert_eq!(offered(&server, &devices[1..]), [0_usize; 0]);
    report(&server, &devices, &[1], &id, "success");
    let all = shown(&server, &id);
    assert_eq!(
        (
            &all["statistics"]["status"]["success"],
            &all["rollout"]["lost"]
        ),
        (&json!(1), &json!(0))
    );
    let resume = format!("{}/{id}/resume", crate::rollouts::DEPLOYMENTS);
    check(&server.admin("POST", &resume, ()), 204);
    assert_eq!(offered(&server, &devices[2..]), [0, 1]);
}

#[test]
fn the_server_is_set_to_a_patience_and_a_deployment_may_have_none() {
    let server = Server::start_with(&["--lost-after", "1s"]);
    server.uploaded(&crate::harness::artifact("r2"));
    let devices = [server.device("a")];
    let patient = deploy(&server, json!({"lost_after_seconds": 0}));
    assert_eq!(offered(&server, &devices), [0]);
    server.uploaded(&crate::harness::artifact("r3"));
    let usual = server.deploy("r3", &[&devices[0]]);
    report(&server, &devices, &[0], &patient, "installing");
    let other = [server.device("b")];
    let short = deploy(&server, json!({"name": "short"}));
    assert_eq!(offered(&server, &other), [0]);
    wait_until("the loss", || rollout(&server, &short)["lost"] == 1);
    assert_eq!(rollout(&server, &patient)["lost"], 0);
    assert_eq!(rollout(&server, &usual)["lost"], 0);
    let answer = server.admin(
        "POST",
        crate::rollouts::DEPLOYMENTS,
        json!({"name": "x", "artifact_name": "r2", "all_devices": true, "lost_after_seconds": 40_000_000}),
    );
    check(&answer, 422);
}
