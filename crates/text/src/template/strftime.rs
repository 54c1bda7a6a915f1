//! Dates as `strftime` writes them, in UTC and in English. Only what templates ask for.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A moment taken apart.
struct Civil {
    year: u64,
    /// From 0.
    month: usize,
    /// From 1.
    day: u64,
    /// From 0, Sunday first.
    weekday: usize,
    /// From 1.
    day_of_year: u64,
    seconds: u64,
}

/// Writes the time given in seconds since 1970; a directive that is not known stays as it is.
pub(super) fn format_utc(format: &str, seconds: u64) -> String {
    let civil = civil(seconds);
    let (hour, minute, second) = (civil.seconds / 3600, civil.seconds / 60 % 60, civil.seconds % 60);
    let (month, day) = (MONTHS[civil.month], DAYS[civil.weekday]);
    let mut result = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            result.push(character);
            continue;
        }
        // `%-d` is `%d` without its zero.
        let directive = characters.next();
        let (bare, directive) = if directive == Some('-') { (true, characters.next()) } else { (false, directive) };
        let pad = |value: u64, width: usize| if bare { value.to_string() } else { format!("{value:0width$}") };
        result.push_str(&match directive {
            Some('Y') => civil.year.to_string(),
            Some('y') => pad(civil.year % 100, 2),
            Some('m') => pad(civil.month as u64 + 1, 2),
            Some('d') => pad(civil.day, 2),
            Some('e') => format!("{:2}", civil.day),
            Some('j') => pad(civil.day_of_year, 3),
            Some('H') => pad(hour, 2),
            Some('I') => pad((hour + 11) % 12 + 1, 2),
            Some('M') => pad(minute, 2),
            Some('S') => pad(second, 2),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('B') => month.to_owned(),
            Some('b' | 'h') => month[..3].to_owned(),
            Some('A') => day.to_owned(),
            Some('a') => day[..3].to_owned(),
            Some('F') => format!("{}-{:02}-{:02}", civil.year, civil.month + 1, civil.day),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('Z') => "UTC".to_owned(),
            Some('z') => "+0000".to_owned(),
            Some('%') => "%".to_owned(),
            Some(other) => format!("%{}{other}", if bare { "-" } else { "" }),
            None => "%".to_owned(),
        });
    }
    result
}

fn civil(seconds: u64) -> Civil {
    let mut days = seconds / 86_400;
    let weekday = ((days + 4) % 7) as usize;
    // 400 years repeat exactly; the rest is walked year by year and month by month.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= days_in_year(year) {
        days -= days_in_year(year);
        year += 1;
    }
    let day_of_year = days + 1;
    let mut month = 0;
    while days >= days_in_month(year, month) {
        days -= days_in_month(year, month);
        month += 1;
    }
    Civil { year, month, day: days + 1, weekday, day_of_year, seconds: seconds % 86_400 }
}

fn days_in_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in_month(year: u64, month: usize) -> u64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::format_utc;

    #[test]
    fn known_moments_are_written_as_strftime_writes_them() {
        assert_eq!(format_utc("%Y-%m-%d %H:%M:%S %A", 0), "1970-01-01 00:00:00 Thursday");
        assert_eq!(format_utc("%d %b %Y %j %a", 951_782_400), "29 Feb 2000 060 Tue");
        assert_eq!(format_utc("%-d %B %y, %I:%M %p", 1_721_995_509), "26 July 24, 12:05 PM");
        assert_eq!(format_utc("100%% %Q %", 0), "100% %Q %");
        assert_eq!(format_utc("%F", 4_102_444_799), "2099-12-31");
        assert!(format_utc("%Y", u64::MAX).parse::<u64>().is_ok());
    }
}
