//! `evenkeel top`: the live picture in a terminal.

mod draw;
mod rates;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use clap::ArgMatches;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, KeyCode, KeyEvent, KeyModifiers};
use tokio::time::Instant;

use crate::admin::view::Status;
use crate::cli::fetch::Balancer;
use crate::cli::status::{self, Refused};
use crate::cli::surroundings::{self, Surroundings};
use crate::cli::top::draw::Screen;
use crate::cli::top::rates::{Look, Rates};
use crate::cli::{arguments, finding, print};
use crate::config;
use crate::config::Client;

pub(super) fn main(matches: &ArgMatches, around: &Surroundings) -> ExitCode {
    let flags = arguments::flags(matches);
    let client = match config::load_client(&flags, &around.env, &surroundings::read_file) {
        Ok(client) => client,
        Err(mistakes) => return finding::refuse(mistakes),
    };
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return print::refuse(
            "`evenkeel top` needs a terminal",
            "run it with `docker exec -it`, or ask `evenkeel status --json` from a script",
        );
    }
    // Before the screen is taken: what is wrong can be told as usual.
    let first = match status::current(balancer(&client)) {
        Ok(status) => status,
        Err((message, hint)) => return print::refuse(&message, &hint),
    };
    let looks = look_on(client);
    let screen = Screen { colours: !around.env.contains_key("NO_COLOR"), ..Screen::default() };
    let shown = ratatui::try_init().and_then(|terminal| watch(terminal, screen, first, &looks));
    ratatui::restore();
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => print::refuse(&format!("cannot use the terminal: {error}"), ""),
    }
}

fn balancer(client: &Client) -> Balancer<'_> {
    Balancer { admin: client.admin, token: client.token.as_ref(), within: WITHIN }
}

/// Looks at the balancer again and again, on a thread of its own, so that keys are
/// heard while it does not answer.
fn look_on(client: Client) -> Receiver<Result<Status, Refused>> {
    // Who is slow to draw sees the newest but one, and nothing piles up.
    let (looked, looks): (SyncSender<_>, _) = sync_channel(1);
    thread::spawn(move || {
        loop {
            thread::sleep(EVERY);
            if looked.send(status::current(balancer(&client))).is_err() {
                return;
            }
        }
    });
    looks
}

/// Draws until somebody wants to leave.
fn watch(
    mut terminal: DefaultTerminal,
    mut screen: Screen,
    first: Status,
    looks: &Receiver<Result<Status, Refused>>,
) -> io::Result<()> {
    let began = Instant::now();
    let mut last = Look { at: Duration::ZERO, status: first };
    screen.rates = Rates::between(None, &last);
    screen.status = last.status.clone();
    loop {
        while let Ok(look) = looks.try_recv() {
            match look {
                Ok(status) => {
                    let now = Look { at: began.elapsed(), status };
                    screen.rates = Rates::between(Some(&last), &now);
                    screen.status = now.status.clone();
                    screen.trouble = None;
                    last = now;
                }
                Err((message, _)) => screen.trouble = Some(message),
            }
        }
        terminal.draw(|frame| screen.draw(frame))?;
        if !event::poll(HEAR_EVERY)? {
            continue;
        }
        let page = usize::from(terminal.size()?.height.saturating_sub(2)).max(1);
        // Of what else may happen, such as a new size, the next picture tells.
        match event::read()?.as_key_press_event().and_then(wish) {
            Some(Wish::Leave) => return Ok(()),
            Some(Wish::Up) => screen.top = screen.top.saturating_sub(1),
            Some(Wish::Down) => screen.top = screen.top.saturating_add(1),
            Some(Wish::PageUp) => screen.top = screen.top.saturating_sub(page),
            Some(Wish::PageDown) => screen.top = screen.top.saturating_add(page),
            Some(Wish::Start) => screen.top = 0,
            Some(Wish::End) => screen.top = usize::MAX,
            None => {}
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wish {
    Leave,
    Up,
    Down,
    PageUp,
    PageDown,
    Start,
    End,
}

fn wish(key: KeyEvent) -> Option<Wish> {
    // The terminal makes no signal of it.
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        return Some(Wish::Leave);
    }
    KEYS.iter().find(|(code, _)| *code == key.code).map(|&(_, wish)| wish)
}

const KEYS: [(KeyCode, Wish); 13] = [
    (KeyCode::Char('q'), Wish::Leave),
    (KeyCode::Esc, Wish::Leave),
    (KeyCode::Up, Wish::Up),
    (KeyCode::Char('k'), Wish::Up),
    (KeyCode::Down, Wish::Down),
    (KeyCode::Char('j'), Wish::Down),
    (KeyCode::PageUp, Wish::PageUp),
    (KeyCode::PageDown, Wish::PageDown),
    (KeyCode::Char(' '), Wish::PageDown),
    (KeyCode::Home, Wish::Start),
    (KeyCode::Char('g'), Wish::Start),
    (KeyCode::End, Wish::End),
    (KeyCode::Char('G'), Wish::End),
];

const EVERY: Duration = Duration::from_secs(1);

const WITHIN: Duration = Duration::from_secs(5);

/// So long a new picture may wait for a key.
const HEAR_EVERY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_c_leaves_as_q_does() {
        let key = |code, modifiers| wish(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Wish::Leave));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Some(Wish::Leave));
        assert_eq!(key(KeyCode::Char('G'), KeyModifiers::SHIFT), Some(Wish::End));
    }
}
