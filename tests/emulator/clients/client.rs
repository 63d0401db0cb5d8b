// What the crate `squarecloud` sees of an emulator, a line for each question: client BASE_URL DATABASE
use squarecloud::types::SnapshotScope;
use squarecloud::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let mut client = Client::new(std::env::var("SQUARECLOUD_API_KEY").expect("the key"));
    client.base_url = arguments[1].clone(); // its own public setting
    let database = client.database(&arguments[2]);

    let me = client.me().await.expect("the account");
    println!("plan {} {}", me.user.plan.name, me.user.plan.memory.limit);
    println!("type {}", database.info().await.expect("the database").db_type);
    println!("status {}", database.status().await.expect("its status").status);
    println!("before {:?}", database.restore_status().await.expect("no restore").state);
    println!("created {}", database.create_snapshot().await.expect("a snapshot").url.starts_with("http"));
    println!("again {:?}", database.create_snapshot().await.expect_err("a cooldown"));
    let listed = database.list_snapshots().await.expect("its listing");
    let account = client.all_snapshots(Some(SnapshotScope::Databases)).await.expect("the account's listing");
    println!("listed {:?} {:?} {}", listed[0].origin, listed[0].runtime, account[0].version_id == listed[0].version_id);
    println!("applications {}", client.all_snapshots(None).await.expect("the other listing").len());
    let (name, version) = (listed[0].name.clone(), listed[0].version_id.clone());
    println!("restored {:?}", database.restore_snapshot(name, version).await.expect("a restore"));
    let status = database.restore_status().await.expect("its status");
    println!("after {:?} {:?} {}", status.state, status.step, status.started_at.is_some());
}
