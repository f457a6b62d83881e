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
    page.push_str("\n| feed | what it is | resumes | missing messages are counted | acknowledged | documentation as of |\n|---|---|---|---|---|---|\n");
    for Profile { name, title, checked, options, .. } in Profile::all() {
        let (resumes, counts) = (words::resumes(&options), words::counts_gaps(&options));
        let acknowledged = words::acknowledges(&options);
        let _ =
            writeln!(page, "| [`{name}`]({name}.md) | {title} | {resumes} | {counts} | {acknowledged} | {checked} |");
    }
    page.push_str(OWN_PROFILE);
    page
}

/// A line of a profile's notes. Options are written as code, like what is in backticks already.
fn marked(line: &str) -> String {
    let parts = line.split('`').enumerate().map(|(at, part)| match at % 2 {
        0 => part.split(' ').map(as_code).collect::<Vec<_>>().join(" "),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

fn as_code(word: &str) -> String {
    let text = word.trim_end_matches(['.', ',', ':', ';']);
    match text.starts_with("websocket.") || text.starts_with("value.converter") {
        true => format!("`{text}`{}", &word[text.len()..]),
        false => word.to_owned(),
    }
}

#[test]
fn options_in_notes_are_written_as_code() {
    let marked = marked("Set websocket.url=ws://a, and `websocket.backfill.http=GET b` in websocket.url.");
    assert_eq!(marked, "Set `websocket.url=ws://a`, and `websocket.backfill.http=GET b` in `websocket.url`.");
}

fn feed_page(profile: &Profile) -> String {
    let Profile { name, title, docs, checked, notes, options, .. } = profile;
    let (resumes, counts) = (words::resumes(options), words::counts_gaps(options));
    let mut page = format!(
        "# {title}\n\n<!-- Generated from crates/engine/feeds/{name}.properties: run `make docs`. -->\n\n\
         The connector has a *profile* of this feed: its configuration. You set only what is in the [connector file](#connector-file).\n\n\
         | about this feed | |\n|---|---|\n\
         | option | `websocket.feed={name}` |\n\
         | the feed's documentation | <{docs}> |\n\
         | documentation as of | {checked} |\n\
         | [resumes](../guide/delivery.md) after a lost connection | {resumes} |\n\
         | missing messages are [counted](../operations/gaps.md) | {counts} |\n\
         | messages are acknowledged | {} |\n",
        words::acknowledges(options)
    );
    page.push_str("\n## Good to know\n\n");
    notes.lines().for_each(|line| page.push_str(&format!("- {}\n", marked(line))));
    let file = feeds::connector_file(profile, name);
    let secrets = match file.contains("${env:") {
        true => "`${env:…}` is an environment variable: see [Secrets](../guide/sessions.md#secrets).\n\n",
        false => "",
    };
    let _ = write!(
        page,
        "\n## Connector file\n\nReplace the examples with your own values:\n\n```properties\n{file}```\n\n{secrets}\
         `connect-websocket feeds {name} --write {name}.properties` writes this file. `connect-websocket validate {name}.properties` checks \
         it without connecting. Then start the [worker](../start/worker.md) or `connect-standalone` with it. For `POST /connectors`, write the same \
         options as JSON, as for the [plugin](../start/plugin.md#2-configure).\n\n## What happens on each connection\n\n"
    );
    for (at, step) in words::session(options).iter().enumerate() {
        let _ = writeln!(page, "{}. `{step}`", at + 1);
    }
    page
}

const FEEDS: &str = "\
# Feeds

<!-- Generated from the profiles: run `make docs`. -->

This page lists the feeds that the connector knows. For each of them you set three things: `websocket.feed`, what the feed needs from you (mostly its topics), and the Kafka topic.
The feed's *profile* sets all other options. An option that you set replaces the profile's. An empty value removes it.

```bash
connect-websocket feeds                                   # the list
connect-websocket feeds kucoin                            # one feed, with all that its profile sets
connect-websocket feeds kucoin --write kucoin.properties  # a connector file to fill in
```

The program is `target/demo/connect-websocket` after `make demo`, and `target/worker/connect-websocket` after `make build`.

If your feed is not in the list, configure its session [in steps](../guide/sessions.md). You can save the result as [a profile of your own](#a-profile-of-your-own).

The columns of the table:

- **resumes**: after a lost connection or a restart, the feed continues where it stopped. No message is lost as long as the feed still has it.
  *Except after a restart*: the feed resumes by a secret, and secrets are not stored. So a restarted task begins anew.
- **missing messages are counted**: the feed numbers its messages, so the [ledger of gaps](../operations/gaps.md) says which are missing.
  *They can be fetched*: with `websocket.sequence.action=backfill`, the connector fetches them from the feed's history over HTTP.
- **acknowledged**: the feed sends a message again until it is acknowledged. The connector acknowledges it when Kafka has the record.
- **documentation as of**: the date of the documentation that the profile is based on. If it is old, check limits and addresses yourself.

[Delivery](../guide/delivery.md) explains what this means for losses and duplicates.
";

const OWN_PROFILE: &str = r#"
## A profile of your own

If several connectors read the same feed, write what they share into a file, for example `/etc/connect/my-feed.properties`:

```text
feed.title=My feed
feed.variable.websocket.subscription.topics=The channels. For example: trades,quotes
websocket.url=wss://feed.example.com/ws
websocket.subscription.message={"op":"subscribe","channel":"{{topic}}"}
websocket.record.key={{/symbol}}
```

Then set `websocket.feed=/etc/connect/my-feed.properties` in each connector. The file must exist on every machine that runs the connector.

- A key that does not begin with `feed.` is an option. A connector can replace or remove it, as with every profile.
- `feed.variable.<option>` is an option that each connector has to set: what it is, and an example.
- `feed.title`, `feed.docs`, `feed.checked` and `feed.notes` are only shown, by `connect-websocket feeds /etc/connect/my-feed.properties`.
"#;
