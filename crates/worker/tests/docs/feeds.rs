//! `docs/feeds` is what the profiles say: a list, and a page for each.

use std::fmt::Write as _;
use std::fs;

use connect_websocket::command::feeds;
use connect_websocket_engine::feeds::{NAMES, Profile, words};

use super::{check, root, sorted};

#[test]
fn each_profile_has_its_page() {
    check("docs/feeds/index.md", &feeds_index());
    for profile in Profile::all() {
        check(&format!("docs/feeds/{}.md", profile.name), &feed_page(&profile));
    }
    for path in sorted(&root().join("docs/feeds")) {
        let name = path.file_stem().unwrap().to_string_lossy();
        assert!(name == "index" || NAMES.contains(&&*name), "{} is of no profile: remove it", path.display());
    }
}

#[test]
fn the_readme_lists_every_feed() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(&format!("knows [{} feeds]", NAMES.len())), "README.md: there are {} feeds", NAMES.len());
    let list = readme.split("## Any feed in three lines").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    for Profile { name, title, .. } in Profile::all() {
        let first = title.split([' ', ',']).next().unwrap();
        assert!(list.contains(first), "README.md does not list {name}: {title}");
    }
}

fn feeds_index() -> String {
    let mut page = String::from(FEEDS);
    page.push_str("\n| feed | what | resumes | missing messages are counted | acknowledged | facts of |\n|---|---|---|---|---|---|\n");
    for Profile { name, title, checked, options, .. } in Profile::all() {
        let (resumes, counts) = (words::resumes(&options), words::counts_gaps(&options));
        let acknowledged = words::acknowledges(&options);
        let _ =
            writeln!(page, "| [`{name}`]({name}.md) | {title} | {resumes} | {counts} | {acknowledged} | {checked} |");
    }
    page
}

/// Each sentence of a profile's notes, with options as code.
fn sentences(notes: &str) -> impl Iterator<Item = String> {
    let mut begin = 0;
    let ends =
        notes.match_indices(". ").map(|(at, _)| at + 1).filter(|at| notes[at + 1..].starts_with(char::is_uppercase));
    let parts = ends.chain([notes.len()]).map(move |end| {
        let part = &notes[begin..end];
        begin = end;
        part.split_whitespace().map(as_code).collect::<Vec<_>>().join(" ")
    });
    parts.collect::<Vec<_>>().into_iter()
}

fn as_code(word: &str) -> String {
    let text = word.trim_end_matches(['.', ',', ':', ';']);
    match text.starts_with("websocket.") || text.starts_with("value.converter") {
        true => format!("`{text}`{}", &word[text.len()..]),
        false => word.to_owned(),
    }
}

#[test]
fn notes_are_a_list_of_sentences() {
    let list: Vec<String> = sentences("Slow. For more set websocket.url=ws://a. trade_id has no holes.").collect();
    assert_eq!(list, ["Slow.", "For more set `websocket.url=ws://a`. trade_id has no holes."]);
}

fn feed_page(profile: &Profile) -> String {
    let Profile { name, title, docs, checked, notes, options, .. } = profile;
    let (resumes, counts) = (words::resumes(options), words::counts_gaps(options));
    let mut page = format!(
        "# {title}\n\n<!-- Generated from crates/engine/feeds/{name}.properties: run `make docs`. -->\n\n\
         | about this feed | |\n|---|---|\n\
         | the option | `websocket.feed={name}` |\n\
         | the feed's own documentation | <{docs}> |\n\
         | the profile is true as of | {checked} |\n\
         | [resumes](../guide/delivery.md) after a lost connection | {resumes} |\n\
         | missing messages are [counted](../operations/gaps.md) | {counts} |\n\
         | messages are acknowledged | {} |\n",
        words::acknowledges(options)
    );
    page.push_str("\n## Good to know\n\n");
    sentences(notes).for_each(|sentence| page.push_str(&format!("- {sentence}\n")));
    let _ = write!(
        page,
        "\n## A connector\n\nPut your own values in:\n\n```properties\n{}```\n\n\
         `connect-websocket feeds {name} --write {name}.properties` writes this file, and `connect-websocket validate {name}.properties` checks \
         it without connecting. Then start the [worker](../start/worker.md) with it, or give it to the [plugin](../start/plugin.md).\n\n## What happens on each connection\n\n",
        feeds::connector_file(profile)
    );
    for (at, step) in words::session(options).iter().enumerate() {
        let _ = writeln!(page, "{}. `{step}`", at + 1);
    }
    page
}

const FEEDS: &str = "\
# Feeds

<!-- Generated from the profiles: run `make docs`. -->

A feed of this list works with three lines: `websocket.feed`, what the feed asks of you (mostly its topics), and the Kafka topic.
The feed's *profile* sets every other option. What you set yourself wins, option by option. An empty value unsets what the profile sets.

```bash
connect-websocket feeds                                   # the list
connect-websocket feeds kucoin                            # one feed, with all that its profile sets
connect-websocket feeds kucoin --write kucoin.properties  # a connector file to fill in
```

(`make build` makes the program: `target/worker/connect-websocket`.)

Your feed is not in the list? Configure its session [in steps](../guide/sessions.md). You can keep the result as a profile of your own:
`websocket.feed` also takes the path of a file in the form of `crates/engine/feeds/*.properties`.

What the columns say:

- **resumes**: after a lost connection or a restart the feed is read on from where it stopped. Nothing is missed while the feed keeps its
  messages. *Within one process* means that a restart of the process begins anew: the feed resumes by a secret, and secrets are not stored.
- **missing messages are counted**: the feed numbers its messages, so the [ledger of gaps](../operations/gaps.md) says which are missing.
  *And can be asked for*: with `websocket.sequence.action=backfill` the connector asks the feed's history for them.
- **acknowledged**: the feed sends a message again until it is acknowledged. The connector does that when Kafka has the record.
- **facts of**: how new the facts are that the profile was written from.

[Delivery](../guide/delivery.md) says what that means for loss and for duplicates.
";
