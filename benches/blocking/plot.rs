//! The plot: a panel a pool, success over offered load; curves of Erlang-B, points of the gateway.

use super::{Point, erlang_b};
use std::fmt::Write;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 20.0;
const BOTTOM: f64 = 50.0;
/// The lowest percentage that there is room for.
const LEAST: f64 = 40.0;
/// Points of a curve.
const FINE: u32 = 100;

/// The pool's panel: from load (of its addresses) and percent to the place on the page.
struct Panel {
    x: f64,
    y: f64,
    most: f64,
}

impl Panel {
    fn x(&self, load: f64) -> f64 {
        self.x + LEFT + load / self.most * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, percent: f64) -> f64 {
        self.y + TOP + (100.0 - percent) / (100.0 - LEAST) * (HEIGHT - TOP - BOTTOM)
    }
}

/// An SVG document with two panels a row.
pub fn svg(pools: &[u32], points: &[Point]) -> String {
    let rows = pools.len().div_ceil(2);
    let (width, height) = (2.0 * WIDTH, rows as f64 * HEIGHT + 30.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (n, &addresses) in pools.iter().enumerate() {
        let its: Vec<_> = points.iter().filter(|point| point.addresses == addresses).collect();
        let panel = Panel { x: (n % 2) as f64 * WIDTH, y: (n / 2) as f64 * HEIGHT, most: 2.0 };
        draw(&mut out, &panel, addresses, &its).expect("a string takes all");
    }
    let y = rows as f64 * HEIGHT + 15.0;
    let (erlang, text) = (format!("M55 {y}H75"), y + 4.0);
    let _ =
        writeln!(out, "<path d=\"{erlang}\" stroke=\"black\"/><text x=\"82\" y=\"{text}\">Erlang-B</text>");
    for (x, colour, name) in
        [(200.0, "#c00", "plain FQDN"), (340.0, "#06c", "SFQDN, 8 services that share addresses")]
    {
        let _ = writeln!(
            out,
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/><text x=\"{}\" y=\"{text}\">{name}</text>",
            x + 10.0,
        );
    }
    out + "</svg>\n"
}

fn draw(out: &mut String, panel: &Panel, addresses: u32, points: &[&Point]) -> std::fmt::Result {
    let (left, right) = (panel.x(0.0), panel.x(panel.most));
    writeln!(out, "<text x=\"{left}\" y=\"{}\">{addresses} addresses</text>", panel.y + TOP - 12.0)?;
    for percent in [LEAST, 60.0, 80.0, 100.0] {
        let y = panel.y(percent);
        writeln!(out, "<path d=\"M{left} {y}H{right}\" stroke=\"#ddd\"/>")?;
        writeln!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{percent}</text>", left - 6.0, y + 4.0)?;
    }
    for load in [0.0, 0.5, 1.0, 1.5, 2.0] {
        let erlangs = load * f64::from(addresses);
        let (x, y) = (panel.x(load), panel.y(LEAST) + 16.0);
        writeln!(out, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{erlangs}</text>")?;
    }
    let (x, y) = ((left + right) / 2.0, panel.y(LEAST) + 34.0);
    writeln!(out, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">offered load, Erlangs</text>")?;
    let (x, y) = (panel.x + 18.0, (panel.y(LEAST) + panel.y(100.0)) / 2.0);
    writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" transform=\"rotate(-90 {x} {y})\">set-ups that succeed, %</text>"
    )?;
    let at =
        |erlangs: f64, percent: f64| (panel.x(erlangs / f64::from(addresses)), panel.y(percent.max(LEAST)));
    let formula = (0..=FINE).map(|n| panel.most * f64::from(n) / f64::from(FINE) * f64::from(addresses));
    let curve = formula.map(|erlangs| at(erlangs, 100.0 * (1.0 - erlang_b(addresses, erlangs))));
    let path: String = curve.map(|(x, y)| format!(" {x:.1},{y:.1}")).collect();
    writeln!(out, "<polyline points=\"{path}\" fill=\"none\" stroke=\"black\"/>")?;
    for point in points {
        for (percent, colour) in [(point.fqdn, "#c00"), (point.sfqdn, "#06c")] {
            let (x, y) = at(point.erlangs, percent);
            writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>")?;
        }
    }
    Ok(())
}
