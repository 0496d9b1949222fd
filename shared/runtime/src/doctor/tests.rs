use super::*;

struct House {
    windows: u32,
}

const HOUSE: Table<House> = Table {
    service: "house",
    reached: "house.reached",
    reached_wanted: "an open door",
    checks: &[
        Check::new("house.windows", "two or more", |house| Box::pin(windows(house))),
        Check::new("house.cellar", "dry", |_| Box::pin(std::future::pending()))
            .within(Duration::from_millis(20)),
        Check::new("house.roof", "tight", |_| Box::pin(roof())),
    ],
};

async fn windows(house: &House) -> anyhow::Result<Seen> {
    let found = format!("{} windows", house.windows);
    Ok(match house.windows {
        0 => Seen::failed(found, "buy some\nand put them in"),
        1 => Seen::advice(found, "buy another"),
        _ => Seen::ok(found),
    })
}

async fn roof() -> anyhow::Result<Seen> {
    Err(anyhow::anyhow!("mongodb://admin:s3cret@attic/ is locked").context("the ladder"))
}

async fn examined(place: Result<&House, Seen>) -> Vec<Line> {
    let mut lines = Vec::new();
    HOUSE.examine(place, &[], |line| lines.push(line)).await.unwrap();
    lines
}

#[tokio::test(start_paused = true)]
async fn each_check_is_a_line_with_what_was_found_and_what_mends_it() {
    let lines = examined(Ok(&House { windows: 0 })).await;
    let printed: Vec<String> = lines.iter().map(ToString::to_string).collect();
    assert_eq!(
        printed,
        [
            "ok            house.reached                 reached; wanted: an open door",
            "FAILED        house.windows                 0 windows; wanted: two or more\n              buy some\n              and put them in",
            "FAILED        house.cellar                  no answer within 20ms; wanted: dry",
            "FAILED        house.roof                    the ladder: mongodb://admin:***@attic/ is locked; wanted: tight",
        ]
    );
    let json = serde_json::to_value(&lines[1]).unwrap();
    let took = &json["milliseconds"];
    let expected = serde_json::json!({
        "service": "house", "check": "house.windows", "verdict": "failed", "found": "0 windows",
        "wanted": "two or more", "mend": "buy some\nand put them in", "milliseconds": took
    });
    assert_eq!(json, expected);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_reached_nothing_else_is_tried() {
    let lines = examined(Err(Seen::failed("a closed door", "knock"))).await;
    assert_eq!((lines[0].verdict, lines[0].mend.as_deref()), (Verdict::Failed, Some("knock")));
    for line in &lines[1..] {
        assert_eq!((line.verdict, line.found.as_str()), (Verdict::NotTried, "house.reached has failed"));
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_has_failed_makes_the_command_fail() {
    let options = Options { output: Format::Json, only: Vec::new(), replicas: 3 };
    let told = HOUSE.print(Ok(&House { windows: 1 }), &options).await.unwrap_err().to_string();
    assert_eq!(told, "2 of 4 checks have failed");
    let sound = Table { checks: &HOUSE.checks[..1], ..HOUSE };
    sound.print(Ok(&House { windows: 1 }), &options).await.unwrap();
}

#[tokio::test]
async fn only_the_checks_that_are_asked_for_are_done() {
    let mut done = Vec::new();
    let house = House { windows: 2 };
    let only = ["house.windows".to_owned()];
    HOUSE.examine(Ok(&house), &only, |line| done.push(line.check)).await.unwrap();
    assert_eq!(done, ["house.reached", "house.windows"]);
    let unknown = HOUSE.examine(Ok(&house), &["house.garden".to_owned()], |_| panic!("none is done")).await;
    let known = "house.reached, house.windows, house.cellar, house.roof";
    assert_eq!(unknown.unwrap_err().to_string(), format!("there is no check house.garden, only {known}"));
}

#[test]
fn the_reference_has_a_row_for_each_check() {
    let reference = HOUSE.reference();
    assert_eq!(reference.lines().count(), 2 + 1 + HOUSE.checks.len());
    assert!(reference.contains("| `house.windows` | two or more |"), "{reference}");
}
