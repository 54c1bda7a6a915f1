//! The `sconce` binary.

fn main() -> anyhow::Result<()> {
    Ok(())
}
