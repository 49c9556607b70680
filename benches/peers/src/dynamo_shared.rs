use crate::dynamo::{Backend, assert_applied};
use dynamo_kv_router::ConcurrentRadixTreeCompressed;
use dynamo_kv_router::indexer::{SyncIndexer, WorkerTask};
use dynamo_kv_router::nested_map::{LevelIndex, PositionalIndexer, SearchMode};
use dynamo_kv_router::protocols::{LocalBlockHash, OverlapScores, RouterEvent, WorkerWithDpRank};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Dynamo's tree for many threads: one thread writes, fed through a queue; whoever asks reads for himself.
pub struct Concurrent {
    tree: Arc<ConcurrentRadixTreeCompressed>,
    tasks: flume::Sender<WorkerTask>,
    writer: Option<JoinHandle<()>>,
}

impl Backend for Concurrent {
    const NAME: &'static str = "Dynamo concurrent tree";
    const INLINE: bool = false;

    fn new() -> Self {
        let tree = Arc::new(ConcurrentRadixTreeCompressed::new());
        let (tasks, queue) = flume::unbounded();
        let shared = Arc::clone(&tree);
        let writer = std::thread::spawn(move || shared.worker(queue, None).expect("the writer ends when told to"));
        Self { tree, tasks, writer: Some(writer) }
    }

    fn apply(&mut self, event: RouterEvent) {
        self.tasks.send(WorkerTask::Event(event)).expect("the writer runs");
    }

    fn find(&self, hashes: Vec<LocalBlockHash>) -> OverlapScores {
        self.tree.find_matches(&hashes, false)
    }

    fn settle(&mut self) {
        let (done, wait) = oneshot::channel();
        self.tasks.send(WorkerTask::Flush(done)).expect("the writer runs");
        wait.blocking_recv().expect("the writer answers");
    }
}

impl Drop for Concurrent {
    fn drop(&mut self) {
        // A writer that panicked has said so already.
        let _ = self.tasks.send(WorkerTask::Terminate);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Dynamo's map from position and block to holders.
pub struct Positional {
    index: PositionalIndexer,
    held: FxHashMap<WorkerWithDpRank, LevelIndex>,
}

impl Backend for Positional {
    const NAME: &'static str = "Dynamo Positional";
    const INLINE: bool = true;

    fn new() -> Self {
        // The jump that its documentation recommends, and its default way to search.
        let index = PositionalIndexer::new_with_mode(32, SearchMode::Strided);
        Self { index, held: FxHashMap::default() }
    }

    fn apply(&mut self, event: RouterEvent) {
        assert_applied(self.index.apply_event(&mut self.held, event, None));
    }

    fn find(&self, hashes: Vec<LocalBlockHash>) -> OverlapScores {
        self.index.find_matches(&hashes, false)
    }

    fn settle(&mut self) {}
}
