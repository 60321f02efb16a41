//! Plots as SVG.

use plotters::prelude::*;

const WIDTH: u32 = 900;

/// The colours of the series; no two that some eyes confuse stand together.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 90, 160),
    RGBColor(230, 140, 0),
    RGBColor(0, 140, 110),
    RGBColor(200, 60, 60),
    RGBColor(120, 80, 170),
    RGBColor(90, 90, 90),
    RGBColor(0, 170, 220),
    RGBColor(170, 120, 60),
];

/// One group of bars a name, one bar a series.
pub fn bars(title: &str, series: &[&str], groups: &[(String, Vec<f64>)]) -> Result<String, String> {
    let rows = groups.len() * (series.len() + 1);
    let height = 110 + 18 * rows as u32;
    let most = groups
        .iter()
        .flat_map(|(_, bars)| bars)
        .fold(0.0_f64, |most, bar| most.max(*bar));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE).map_err(text)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(30)
            .y_label_area_size(300)
            .build_cartesian_2d(0.0..most * 1.12, 0.0..rows as f64)
            .map_err(text)?;
        let name = |place: &f64| {
            let group = (rows as f64 - place) / (series.len() + 1) as f64;
            groups
                .get(group as usize)
                .map(|(name, _)| name.clone())
                .unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .y_labels(0)
            .x_label_formatter(&|value| format!("{value:.1} ×"))
            .draw()
            .map_err(text)?;
        for (place, _) in groups.iter().enumerate() {
            let middle =
                rows as f64 - (place * (series.len() + 1)) as f64 - (series.len() as f64) / 2.0;
            let (_, y) = chart.backend_coord(&(0.0, middle));
            let style = ("sans-serif", 13).into_font().color(&BLACK).pos(
                plotters::style::text_anchor::Pos::new(
                    plotters::style::text_anchor::HPos::Right,
                    plotters::style::text_anchor::VPos::Center,
                ),
            );
            area.draw(&Text::new(name(&(middle + 0.01)), (300, y), style))
                .map_err(text)?;
        }
        for (index, label) in series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let bars = groups.iter().enumerate().map(|(place, (_, bars))| {
                let top = rows as f64 - (place * (series.len() + 1) + index) as f64;
                Rectangle::new(
                    [(0.0, top - 0.1), (bars[index], top - 0.9)],
                    colour.filled(),
                )
            });
            let drawn = chart.draw_series(bars).map_err(text)?;
            if series.len() > 1 {
                drawn.label(*label).legend(move |(x, y)| {
                    Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled())
                });
            }
            let figures = groups.iter().enumerate().map(|(place, (_, bars))| {
                let top = rows as f64 - (place * (series.len() + 1) + index) as f64;
                let figure = format!(" {:.2}", bars[index]);
                Text::new(figure, (bars[index], top - 0.15), ("sans-serif", 12))
            });
            chart.draw_series(figures).map_err(text)?;
        }
        if series.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerRight)
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.3))
                .draw()
                .map_err(text)?;
        }
        area.present().map_err(text)?;
    }
    Ok(svg)
}

/// Lines over powers of ten.
pub fn lines(title: &str, lines: &[(String, Vec<(f64, f64)>)]) -> Result<String, String> {
    let points = || lines.iter().flat_map(|(_, line)| line);
    let least = points().fold(f64::INFINITY, |least, (x, _)| least.min(*x));
    let right = points().fold(0.0_f64, |most, (x, _)| most.max(*x));
    let most = points().fold(0.0_f64, |most, (_, y)| most.max(*y));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, 420)).into_drawing_area();
        area.fill(&WHITE).map_err(text)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(30)
            .y_label_area_size(45)
            .build_cartesian_2d(least - 0.1..right + 0.1, 0.0..most * 1.4)
            .map_err(text)?;
        chart
            .configure_mesh()
            .x_labels(8)
            .x_label_formatter(&|value| match value.fract().abs() < 0.01 {
                true => format!("10^{value:.0}"),
                false => String::new(),
            })
            .draw()
            .map_err(text)?;
        for (index, (name, line)) in lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let series =
                LineSeries::new(line.iter().copied(), colour.stroke_width(2)).point_size(3);
            chart
                .draw_series(series)
                .map_err(text)?
                .label(name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(text)?;
        area.present().map_err(text)?;
    }
    Ok(svg)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
