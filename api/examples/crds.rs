//! Writes the CRDs into the chart: `cargo dev generate`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/mesocentre/crds");
    std::fs::create_dir_all(&folder)?;
    for crd in mesocentre_api::crds::all() {
        let file = folder.join(format!("{}.yaml", crd.spec.names.plural));
        std::fs::write(&file, serde_yaml::to_string(&crd)?)?;
        println!("{}", file.display());
    }
    Ok(())
}
