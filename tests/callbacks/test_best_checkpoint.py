import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from set_aggregation.callbacks import BestCheckpoint

pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
SCORES = [0.2, 0.5, 0.4, 0.3]


class Scored(LightningModule):
    """Has the given scores, one each epoch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def training_step(self, batch, batch_idx):
        return self.weight * 1.0

    def validation_step(self, batch, batch_idx):
        self.log("val/accuracy", SCORES[self.current_epoch])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("save_top_k", "others"),
    [(1, set()), (3, {"epoch=2", "epoch=3", "epoch=4"}), (-1, {"epoch=1", "epoch=2", "epoch=3", "epoch=4"})],
)
def test_best_is_the_best_of_any_number(tmp_path, save_top_k, others):
    score = {"monitor": "val/accuracy", "mode": "max", "save_top_k": save_top_k}
    best = BestCheckpoint(tmp_path, filename="best", enable_version_counter=False, **score)
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[best],
        default_root_dir=tmp_path,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
        max_epochs=len(SCORES),
        num_sanity_val_steps=0,
    )
    data = DataLoader([0.0])
    trainer.fit(Scored(), data, data)
    assert {path.stem for path in tmp_path.glob("*.ckpt")} == {"best"} | others
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["epoch"] + 1 == 2
    for path in tmp_path.glob("epoch=*"):
        assert path.stem == f"epoch={torch.load(path, weights_only=True)['epoch'] + 1}"
