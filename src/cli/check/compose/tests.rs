//! What is read from compose files, and from where.

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn load(&self, names: &[&str]) -> Project {
        let paths: Vec<_> = names.iter().map(|name| self.0.path().join(name)).collect();
        load(&paths, &BTreeMap::new())
    }

    /// Without the folder.
    fn bare(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }

    fn labels(&self, names: &[&str]) -> Vec<String> {
        let project = self.load(names);
        assert_eq!(project.findings(), []);
        let of = |service: &Service| {
            let shown = |(key, text): (&String, &Text)| {
                let place = self.bare(&project.place(text.at).to_string());
                format!("{} {key}={} at {place}", service.name, text.text)
            };
            service.labels.iter().map(shown).collect::<Vec<_>>()
        };
        project.services.values().flat_map(of).collect()
    }

    fn findings(&self, names: &[&str]) -> Vec<String> {
        let findings = self.load(names).findings();
        findings.iter().map(|it| self.bare(&it.to_string())).collect()
    }
}

fn one(text: &str) -> Folder {
    Folder::with(&[("c.yml", text)])
}

#[test]
fn labels_are_maps_or_lists() {
    let text = "services:\n  api:\n    labels:\n      lb.pool: api\n      LB.Port: 80\n  \
                web:\n    labels:\n      - lb.pool=web=1\n      - lb.enable\n";
    assert_eq!(
        one(text).labels(&["c.yml"]),
        [
            "api LB.Port=80 at c.yml:5:7",
            "api lb.pool=api at c.yml:4:7",
            "web lb.enable= at c.yml:9:9",
            "web lb.pool=web=1 at c.yml:8:9",
        ]
    );
}

#[test]
fn anchors_and_merged_keys_are_followed() {
    let text = "x-labels: &labels\n  lb.pool: api\nservices:\n  a:\n    labels:\n      <<: *labels\n      \
                lb.port: 80\n  b:\n    labels: *labels\n";
    assert_eq!(
        one(text).labels(&["c.yml"]),
        ["a lb.pool=api at c.yml:2:3", "a lb.port=80 at c.yml:7:7", "b lb.pool=api at c.yml:2:3",]
    );
}

#[test]
fn what_is_no_label_is_an_error_with_its_place() {
    assert_eq!(
        one("services:\n  a:\n    labels:\n      lb.host: [x, y]\n").findings(&["c.yml"]),
        [
            "c.yml:4:7: error: service `a`: label `lb.host` is not a text\n  hint: write `KEY: VALUE`, or `- KEY=VALUE`"
        ]
    );
    for (text, start) in [
        ("services:\n  a:\n    labels: x\n", "c.yml:3:13: error: service `a`: `labels` is a text"),
        ("services: [\n", "c.yml:2:1: error: this is not YAML"),
        (
            "services: {a: {labels: [a=1, a=2]}}",
            "c.yml:1:30: error: service `a`: label `a` is written twice",
        ),
    ] {
        let findings = one(text).findings(&["c.yml"]);
        assert!(findings[0].starts_with(start), "{findings:?}");
    }
}

#[test]
fn a_later_file_is_laid_over_an_earlier_one() {
    let folder = Folder::with(&[
        (
            "a.yml",
            "services:\n  x:\n    image: a\n    labels: {lb.pool: a, lb.port: 1}\n    ports: ['1:1']\n",
        ),
        ("b.yml", "services:\n  x:\n    labels: [lb.port=2]\n    ports: ['2:2']\n  y: {}\n"),
    ]);
    assert_eq!(
        folder.labels(&["a.yml", "b.yml"]),
        ["x lb.pool=a at a.yml:4:14", "x lb.port=2 at b.yml:3:14"]
    );
    let project = folder.load(&["a.yml", "b.yml"]);
    let x = &project.services["x"];
    assert_eq!((x.image.as_ref().unwrap().text.as_str(), x.ports.len()), ("a", 2));
    assert_eq!(project.services.len(), 2);
}

#[test]
fn a_service_extends_others_in_its_file_and_in_others() {
    let folder = Folder::with(&[
        (
            "c.yml",
            "services:\n  a:\n    extends: b\n    labels: {x: a}\n  b:\n    extends: {file: d.yml, service: c}\n    labels: {y: b}\n",
        ),
        ("d.yml", "services:\n  c:\n    labels: {x: c, y: c, z: c}\n"),
    ]);
    assert_eq!(
        folder.labels(&["c.yml"]),
        [
            "a x=a at c.yml:4:14",
            "a y=b at c.yml:7:14",
            "a z=c at d.yml:3:26",
            "b x=c at d.yml:3:14",
            "b y=b at c.yml:7:14",
            "b z=c at d.yml:3:26",
        ]
    );
}

#[test]
fn what_is_extended_must_be_there_and_must_not_come_round() {
    for (text, said) in [
        ("{a: {extends: a}}", "`extends` of service `a` comes round to itself"),
        ("{a: {extends: b}, b: {extends: a}}", "`extends` of service `a` comes round to itself"),
        ("{a: {extends: b}}", "`extends` names service `b`, which `c.yml` does not have"),
        ("{a: {extends: {service: b, file: no.yml}}}", "`no.yml`: the file cannot be read: "),
    ] {
        let findings = one(&format!("services: {text}")).findings(&["c.yml"]);
        assert!(findings[0].starts_with("c.yml:1:") && findings[0].contains(said), "{findings:?}");
    }
    let chain = |count: usize| {
        let link = |number: usize| format!("  s{number}: {{extends: s{}}}\n", number + 1);
        let links: String = (0..count).map(link).collect();
        one(&format!("services:\n{links}  s{count}: {{}}\n")).findings(&["c.yml"])
    };
    assert!(chain(16).is_empty());
    assert!(!chain(17).is_empty());
}

#[test]
fn files_are_included_once_and_not_round() {
    let folder = Folder::with(&[
        ("c.yml", "include: [d.yml, {path: [e.yml]}, d.yml]\nservices: {a: {labels: {x: 1}}}"),
        ("d.yml", "services: {b: {labels: {x: $V}}}"),
        ("e.yml", "services: {c: {labels: {x: 3}}}"),
        ("f.yml", "include: [g.yml]"),
        ("g.yml", "include: [./f.yml]"),
        (".env", "V=2\n"),
    ]);
    let at = ["a x=1 at c.yml:2:25", "b x=2 at d.yml:1:25", "c x=3 at e.yml:1:25"];
    assert_eq!(folder.labels(&["c.yml"]), at);
    let findings = folder.findings(&["f.yml"]);
    let said = "g.yml:1:11: error: `include` of `f.yml` comes round to itself";
    assert!(findings[0].starts_with(said), "{findings:?}");
}

#[test]
fn files_include_one_another_so_far_and_no_farther() {
    let chain = |count: usize| {
        let name = |number: usize| format!("{number}.yml");
        let link = |number| (name(number), format!("include: [{}]\n", name(number + 1)));
        let mut files: Vec<_> = (0..count).map(link).collect();
        files.push((name(count), "services: {}".to_owned()));
        let files: Vec<_> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
        Folder::with(&files).findings(&["0.yml"])
    };
    assert!(chain(16).is_empty());
    assert!(chain(17)[0].contains("goes on"), "{:?}", chain(17));
}

#[test]
fn what_one_file_makes_of_itself_is_bounded() {
    let labels: String = (0..1_000).map(|number| format!("l{number}: x, ")).collect();
    let services: String = (0..999).map(|number| format!("  s{number}: *s\n")).collect();
    let text = format!("x-s: &s {{labels: {{{labels}}}}}\nservices:\n{services}");
    let findings = one(&text).findings(&["c.yml"]);
    assert!(findings[0].contains("stands for more than 250000 values"), "{findings:?}");
    let many = |count: usize| {
        let services: String = (0..count).map(|number| format!("  s{number}: {{}}\n")).collect();
        one(&format!("services:\n{services}")).findings(&["c.yml"])
    };
    assert!(many(1_000).is_empty());
    assert!(many(1_001)[0].contains("more than 1000 services"));
}

#[test]
fn a_container_sees_what_is_mounted_nearest() {
    let text = "services:\n  a:\n    volumes: ['./x:/data:ro', 'v:/data/v', {type: bind, source: y, target: /y}]\n    \
                secrets: [s, t]\nsecrets: {s: {file: s.txt}, t: {external: true}}\n";
    let folder = one(text);
    let project = folder.load(&["c.yml"]);
    let seen = |path: &str| match project.seen(&project.services["a"], Path::new(path)) {
        Seen::Host(host) => folder.bare(&host.display().to_string()),
        other @ (Seen::Nothing | Seen::Unknown) => format!("{other:?}"),
    };
    for (path, host) in [
        ("/data/z", "x/z"),
        ("/data", "x"),
        ("/data/v/z", "Unknown"),
        ("/y/z", "y/z"),
        ("/run/secrets/s", "s.txt"),
        ("/run/secrets/t", "Unknown"),
        ("/datax", "Nothing"),
    ] {
        assert_eq!(seen(path), host, "{path}");
    }
}
