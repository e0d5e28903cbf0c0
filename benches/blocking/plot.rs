//! The plot: a panel a pool, success over offered load; curves of Erlang-B, points of the gateway.

use super::Point;
use std::fmt::Write;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 50.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 20.0;
const BOTTOM: f64 = 50.0;

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
        self.y + TOP + (100.0 - percent) / 60.0 * (HEIGHT - TOP - BOTTOM)
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
    for (x, colour, name) in
        [(60.0, "black", "Erlang-B"), (200.0, "#c00", "FQDN"), (320.0, "#06c", "SFQDN, 8 services")]
    {
        let _ = writeln!(
            out,
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/><text x=\"{}\" y=\"{}\">{name}</text>",
            x + 10.0,
            y + 4.0
        );
    }
    out + "</svg>\n"
}

fn draw(out: &mut String, panel: &Panel, addresses: u32, points: &[&Point]) -> std::fmt::Result {
    let (left, right) = (panel.x(0.0), panel.x(panel.most));
    writeln!(out, "<text x=\"{left}\" y=\"{}\">{addresses} addresses</text>", panel.y + TOP - 12.0)?;
    for percent in [40.0, 60.0, 80.0, 100.0] {
        let y = panel.y(percent);
        writeln!(out, "<path d=\"M{left} {y}H{right}\" stroke=\"#ddd\"/>")?;
        writeln!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{percent}</text>", left - 6.0, y + 4.0)?;
    }
    for load in [0.0, 0.5, 1.0, 1.5, 2.0] {
        let erlangs = load * f64::from(addresses);
        let (x, y) = (panel.x(load), panel.y(40.0) + 16.0);
        writeln!(out, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{erlangs}</text>")?;
    }
    let (x, y) = ((left + right) / 2.0, panel.y(40.0) + 34.0);
    writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">offered load, Erlangs (success in %)</text>"
    )?;
    let at = |point: &Point, percent: f64| {
        (panel.x(point.erlangs / f64::from(addresses)), panel.y(percent.max(40.0)))
    };
    let curve: Vec<_> = points.iter().map(|point| at(point, point.erlang_b)).collect();
    let path: String = curve.iter().map(|(x, y)| format!(" {x:.1},{y:.1}")).collect();
    writeln!(out, "<polyline points=\"{path}\" fill=\"none\" stroke=\"black\"/>")?;
    for point in points {
        for (percent, colour) in [(point.fqdn, "#c00"), (point.sfqdn, "#06c")] {
            let (x, y) = at(point, percent);
            writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>")?;
        }
    }
    Ok(())
}
