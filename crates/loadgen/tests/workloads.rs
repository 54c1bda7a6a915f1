//! The committed workload files are read as they are, and bad ones are refused by the field at fault.

use std::path::{Path, PathBuf};

use sconce_loadgen::{Load, LoadgenError, Workload};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/workloads")
}

#[test]
fn every_committed_workload_is_valid_and_named_like_its_file() {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder()).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let workload = Workload::load(&path).expect("a valid workload");
            assert_eq!(path.file_stem().and_then(|stem| stem.to_str()), Some(workload.name.as_str()));
            assert!(!workload.description.is_empty() && workload.request_count() > 0);
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen} workloads");
}

#[test]
fn the_workloads_of_the_designs_table_have_its_numbers() {
    let load = |name: &str| Workload::load(&folder().join(name)).expect(name).load;
    assert_eq!(
        load("distinct-8x137.toml"),
        Load::Closed { clients: 8, requests: 8, prompt_tokens: 137, output_tokens: 32 }
    );
    assert_eq!(
        load("shared-8x960.toml"),
        Load::SharedContext { clients: 8, context_tokens: 960, own_tokens: 15, output_tokens: 32, rounds: 1 }
    );
    assert!(matches!(load("again-960.toml"), Load::Again { context_tokens: 960, own_tokens: 15, .. }));
    assert!(matches!(load("stall-2000.toml"), Load::Stall { clients: 4, long_prompt_tokens: 2_000, .. }));
    for clients in [1, 8, 16] {
        let found = load(&format!("streams-{clients}.toml"));
        assert!(matches!(found, Load::Closed { clients: c, requests: r, .. } if c == clients && r == clients));
    }
}

#[test]
fn numbers_out_of_range_are_refused_by_name() {
    let closed = "kind = 'closed'\nclients = 2\nrequests = 4\nprompt_tokens = 10\noutput_tokens = 5";
    let open =
        "kind = 'open'\nrequests = 4\nrate_per_s = 1.0\nmax_in_flight = 2\nprompt_tokens = 10\noutput_tokens = 5";
    let text = |load: &str| format!("name = 'x'\nseed = 1\n[load]\n{load}");
    for (good, bad, base, field) in [
        ("clients = 2", "clients = 0", closed, "load.clients"),
        ("clients = 2", "clients = 5000", closed, "load.clients"),
        ("requests = 4", "requests = 1", closed, "load.requests"),
        ("prompt_tokens = 10", "prompt_tokens = 0", closed, "load.prompt_tokens"),
        ("output_tokens = 5", "output_tokens = 4_000_000_000", closed, "load.output_tokens"),
        ("rate_per_s = 1.0", "rate_per_s = 0.0", open, "load.rate_per_s"),
        ("rate_per_s = 1.0", "rate_per_s = nan", open, "load.rate_per_s"),
        ("rate_per_s = 1.0", "rate_per_s = inf", open, "load.rate_per_s"),
        ("max_in_flight = 2", "max_in_flight = 0", open, "load.max_in_flight"),
    ] {
        Workload::parse(&text(base), "good").expect("the unchanged workload");
        match Workload::parse(&text(&base.replace(good, bad)), "file.toml") {
            Err(LoadgenError::OutOfRange { origin, field: found, .. }) => {
                assert_eq!((origin.as_str(), found), ("file.toml", field));
            }
            other => panic!("{bad}: {other:?}"),
        }
    }
    let slo = format!("{}\n[slo]\nttft_ms = -1\ntpot_ms = 5", text(closed));
    assert!(Workload::parse(&slo, "x").expect_err("a negative limit").to_string().contains("slo.ttft_ms"));
    let timeouts = format!("{}\n[timeouts]\nidle_ms = 0", text(closed));
    assert!(Workload::parse(&timeouts, "x").expect_err("no time").to_string().contains("timeouts.idle_ms"));
}

#[test]
fn what_is_no_workload_is_refused_with_the_reason() {
    let load = "[load]\nkind = 'closed'\nclients = 2\nrequests = 4\nprompt_tokens = 10\noutput_tokens = 5";
    for (text, reason) in [
        (String::new(), "name"),
        ("name = ".to_owned(), "TOML"),
        (format!("name = 'x'\nseed = 1\ncolour = 'red'\n{load}"), "colour"),
        (format!("name = 'x'\nseed = 1\n{load}\nspeed = 9"), "speed"),
        (format!("name = 'x'\nseed = 1\n{}", load.replace("closed", "spiral")), "spiral"),
        (format!("name = 'x'\nseed = 1\n{}", load.replace("clients = 2", "clients = 'two'")), "invalid type"),
        (format!("name = 'x'\nseed = 1\n{}", load.replace("clients = 2", "clients = -2")), "invalid value"),
        (format!("name = ''\nseed = 1\n{load}"), "name"),
    ] {
        let error = Workload::parse(&text, "file.toml").expect_err(&text).to_string();
        assert!(error.contains("file.toml") && error.contains(reason), "{reason}: {error}");
    }
    assert!(matches!(Workload::load(Path::new("/nowhere/x.toml")), Err(LoadgenError::Read { .. })));
}
