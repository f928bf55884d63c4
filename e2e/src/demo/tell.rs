//! What the demonstration prints: chapters, what was done, and tables as the tools themselves print them.

/// Begins a chapter.
pub fn chapter(number: u32, title: &str, about: &str) {
    println!("\n{number}. {title}\n   {about}\n");
}

/// Something that was done or found.
pub fn say(what: &str) {
    for line in what.lines().filter(|line| !line.trim().is_empty()) {
        println!("   · {line}");
    }
}

/// What a tool printed.
pub fn show(table: &str) {
    println!();
    for line in table.lines() {
        println!("     {line}");
    }
    println!();
}
