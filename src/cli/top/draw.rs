//! The picture: a line for each pool and replica, with a bar for what it does.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::admin::view::{Pool, Replica, Status};
use crate::cli::finding::counted;
use crate::cli::print::clean;
use crate::cli::top::rates::{PoolRates, Rates, ReplicaRates};

/// What is shown, and how.
#[derive(Debug, Default)]
pub(super) struct Screen {
    pub(super) status: Status,
    pub(super) rates: Rates,
    /// Why there is nothing newer.
    pub(super) trouble: Option<String>,
    /// The first line of the list that is shown.
    pub(super) top: usize,
    pub(super) colours: bool,
}

impl Screen {
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let rows = [Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)];
        let [head, list, foot] = Layout::vertical(rows).areas(frame.area());
        let lines = self.lines(usize::from(list.width));
        // What has become shorter is shown from where it still fills the screen.
        self.top = self.top.min(lines.len().saturating_sub(usize::from(list.height)));
        let shown = lines.into_iter().skip(self.top).take(usize::from(list.height));
        frame.render_widget(Paragraph::new(self.head()), head);
        frame.render_widget(Paragraph::new(shown.collect::<Vec<_>>()), list);
        frame.render_widget(Paragraph::new(self.foot()), foot);
    }

    fn head(&self) -> Line<'static> {
        let Status { version, generation, stopping, sources, .. } = &self.status;
        let rate = number(self.rates.requests());
        let mut text =
            format!("Evenkeel {}  {rate} requests/s  table {generation}", clean(version));
        for source in sources {
            let state = if source.connected { "connected" } else { "AWAY" };
            text.push_str(&format!("  {} {state}", clean(&source.name)));
        }
        if *stopping {
            text.push_str("  stopping");
        }
        Line::styled(text, Style::new().add_modifier(Modifier::REVERSED))
    }

    fn foot(&self) -> Line<'static> {
        match &self.trouble {
            Some(trouble) => Line::styled(clean(trouble), self.colour(Color::Red)),
            None => Line::from("q quit   arrows, page up and down: scroll"),
        }
    }

    fn lines(&self, width: usize) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        if self.status.pools.is_empty() {
            lines.push(Line::from("No pools: nothing that we see carries our labels."));
        }
        for (pool, rates) in self.status.pools.iter().zip(&self.rates.pools) {
            lines.push(self.pool(pool, rates));
            let most = rates.replicas.iter().map(|it| it.requests).fold(0.0, f64::max);
            let replicas = pool.replicas.iter().zip(&rates.replicas);
            lines.extend(replicas.map(|(it, rates)| self.replica(it, rates, most, width)));
            lines.push(Line::default());
        }
        for problem in &self.status.problems {
            let text = format!("! {}: {}", clean(&problem.subject), clean(&problem.message));
            lines.push(Line::styled(text, self.colour(Color::Yellow)));
            if !problem.hint.is_empty() {
                lines.push(Line::from(format!("  hint: {}", clean(&problem.hint))));
            }
        }
        lines
    }

    fn pool(&self, pool: &Pool, rates: &PoolRates) -> Line<'static> {
        let ready = pool.replicas.iter().filter(|it| it.state == "ready").count();
        let mut text = format!(
            "{}  {} requests/s  {ready}/{} ready",
            clean(&pool.label),
            number(rates.requests),
            pool.replicas.len()
        );
        if rates.errors > 0.0 {
            text.push_str(&format!("  {} errors/s", number(rates.errors)));
        }
        if pool.waiting > 0 {
            text.push_str(&format!("  {} held", counted(pool.waiting as usize, "request")));
        }
        if pool.queued > 0 {
            text.push_str(&format!("  {} queued", counted(pool.queued as usize, "request")));
        }
        let style = if pool.state == "ready" { Style::new() } else { self.colour(Color::Red) };
        Line::styled(text, style.add_modifier(Modifier::BOLD))
    }

    fn replica(
        &self,
        replica: &Replica,
        rates: &ReplicaRates,
        most: f64,
        width: usize,
    ) -> Line<'static> {
        let bar_cells = BAR_CELLS.min(width / 4);
        let colour = match replica.state.as_str() {
            "ready" => Color::Green,
            "starting" | "paused" | "draining" => Color::Yellow,
            _ => Color::Red,
        };
        let mut about = format!(
            "{:>9}/s  {:>4} in flight  {:<11}",
            number(rates.requests),
            replica.in_flight,
            clean(&replica.state)
        );
        if rates.failures > 0.0 {
            about.push_str(&format!("  {} failures/s", number(rates.failures)));
        }
        if replica.backup {
            about.push_str("  backup");
        }
        if !replica.reason.is_empty() {
            about.push_str(&format!("  {}", clean(&replica.reason)));
        }
        Line::from(vec![
            Span::raw(format!("  {:<NAME_CELLS$} ", fitted(&clean(&replica.name)))),
            Span::styled(bar(rates.requests, most, bar_cells), self.colour(colour)),
            Span::raw(about),
        ])
    }

    fn colour(&self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
}

/// As long as `rate` is beside `most`, and then blank up to `cells`.
fn bar(rate: f64, most: f64, cells: usize) -> String {
    let share = if most > 0.0 { (rate / most).clamp(0.0, 1.0) } else { 0.0 };
    let eighths = (share * cells as f64 * 8.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(EIGHTHS.get((eighths % 8).wrapping_sub(1)));
    let used = bar.chars().count();
    bar.push_str(&" ".repeat(cells.saturating_sub(used)));
    bar
}

/// The end of a name says which replica it is.
fn fitted(name: &str) -> String {
    let cells = name.chars().count();
    if cells <= NAME_CELLS {
        return name.to_owned();
    }
    let end: String = name.chars().skip(cells - (NAME_CELLS - 1)).collect();
    format!("…{end}")
}

fn number(rate: f64) -> String {
    if rate == 0.0 || rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

const NAME_CELLS: usize = 24;
const BAR_CELLS: usize = 30;
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::rates::Look;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::time::Duration;

    #[test]
    fn the_busiest_replica_has_the_longest_bar_and_the_others_their_share() {
        let rows = drawn(&mut screen(0), 120, 12);
        assert!(rows[0].starts_with("Evenkeel 0.1.0  30.0 requests/s  table 7  docker connected"));
        assert!(rows[1].starts_with("shop/web  30.0 requests/s  1/2 ready  2 requests held"));
        let bar = |row: &str| row.chars().filter(|&it| it == '█').count();
        assert_eq!((bar(&rows[2]), bar(&rows[3])), (30, 15), "{rows:#?}");
        assert!(rows[3].ends_with("unhealthy    its HEALTHCHECK fails"), "{rows:#?}");
        assert_eq!(rows[5], "! container `x`: label `lb.prot` is unknown");
        assert!(rows[11].starts_with("q quit"));
    }

    #[test]
    fn the_list_scrolls_and_stops_at_its_end() {
        let mut screen = screen(99);
        let rows = drawn(&mut screen, 100, 4);
        assert_eq!(screen.top, 4);
        assert_eq!(rows[2], "  hint: did you mean `lb.port`?");
    }

    #[test]
    fn trouble_is_told_below_what_was_seen_last() {
        let mut screen = screen(0);
        screen.trouble = Some("nothing answers at\u{1b} 127.0.0.1:9090".to_owned());
        let rows = drawn(&mut screen, 60, 8);
        assert!(rows[1].starts_with("shop/web"));
        assert_eq!(rows[7], "nothing answers at  127.0.0.1:9090");
    }

    #[test]
    fn a_bar_is_empty_without_traffic_and_never_longer_than_its_place() {
        for (rate, most, shown) in
            [(0.0, 0.0, "    "), (1.0, 8.0, "▌   "), (8.0, 8.0, "████"), (9.0, 8.0, "████")]
        {
            assert_eq!(bar(rate, most, 4), shown, "{rate} of {most}");
        }
    }

    #[test]
    fn of_a_long_name_the_end_is_shown() {
        let name = fitted("a-project-with-a-long-name-web-12");
        assert_eq!(name.chars().count(), NAME_CELLS);
        assert!(name.starts_with('…') && name.ends_with("-web-12"));
    }

    fn screen(top: usize) -> Screen {
        let read = |requests: [u64; 3]| -> Status {
            let [all, first, second] = requests;
            serde_json::from_str(&format!(
                r#"{{"version": "0.1.0", "generation": 7,
                    "sources": [{{"name": "docker", "connected": true}}],
                    "pools": [{{"label": "shop/web", "state": "ready", "waiting": 2,
                        "requests": {{"2xx": {all}}}, "replicas": [
                        {{"id": "1", "name": "shop-web-1", "state": "ready", "requests": {first}}},
                        {{"id": "2", "name": "shop-web-2", "state": "unhealthy",
                          "reason": "its HEALTHCHECK fails", "requests": {second}}}]}}],
                    "problems": [{{"subject": "container `x`",
                        "message": "label `lb.prot` is unknown",
                        "hint": "did you mean `lb.port`?"}}]}}"#
            ))
            .unwrap()
        };
        let before = Look { at: Duration::ZERO, status: read([0, 0, 0]) };
        let now = Look { at: Duration::from_secs(1), status: read([30, 20, 10]) };
        let rates = Rates::between(Some(&before), &now);
        Screen { status: now.status, rates, top, ..Screen::default() }
    }

    fn drawn(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| row(y).trim_end().to_owned()).collect()
    }
}
