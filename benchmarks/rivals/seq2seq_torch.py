"""The equation learner in stock torch: nn.LSTM, nn.BatchNorm1d, nn.Linear, and the fused torch.optim.Adam."""

from __future__ import annotations

import math

import torch
from seq2seq import EQUATIONS, Start
from torch import Tensor, nn
from torch.nn import functional


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        a, h = EQUATIONS.alphabet, EQUATIONS.hidden
        self.encoder = nn.LSTM(a, h, bidirectional=True, batch_first=True)
        self.encoder_norm = nn.BatchNorm1d(2 * h, eps=1e-3, momentum=0.01)
        self.decoder = nn.LSTM(2 * h, h, bidirectional=True, batch_first=True)
        self.decoder_norm = nn.BatchNorm1d(2 * h, eps=1e-3, momentum=0.01)
        self.output = nn.Linear(2 * h, a)

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.encoder(x)
        x = self.encoder_norm(torch.cat([h[0], h[1]], dim=-1))
        x, _ = self.decoder(x[:, None].expand(-1, EQUATIONS.steps_out, -1))
        return self.output(self.decoder_norm(x.flatten(0, 1)))


class StockTorch:
    """Trains the models of ``start`` one after another; inputs are one-hot rows, made once for all epochs.

    The second bias of each LSTM stays as it is, like ours. torch adds Adam's eps after the bias correction,
    Keras before; an eps that is corrected back makes them one.
    """

    name = "torch, nn.LSTM"

    def __init__(self, start: Start) -> None:
        self.start = start
        table = torch.cat([torch.zeros(1, EQUATIONS.alphabet), torch.eye(EQUATIONS.alphabet)])
        self.x, self.y = table[start.inputs.long() + 1], start.targets.long()
        self.models = []
        for index in range(len(start.order)):
            model = Model()
            model.load_state_dict({name: p[index].clone() for name, p in start.parameters.items()})
            for name, parameter in model.named_parameters():
                parameter.requires_grad_("bias_hh" not in name)
            trained = [p for p in model.parameters() if p.requires_grad]
            self.models.append((model, torch.optim.Adam(trained, lr=0.01, fused=True)))
        self.updates = 0

    def epoch(self, minibatches: int | None = None) -> None:
        for (model, optimiser), order in zip(self.models, self.start.order, strict=True):
            for update, rows in enumerate(order.split(EQUATIONS.batch)[:minibatches], self.updates + 1):
                optimiser.param_groups[0]["eps"] = 1e-7 / math.sqrt(1 - 0.999**update)
                optimiser.zero_grad()
                logits = model(self.x[rows])
                functional.cross_entropy(logits, self.y[rows].flatten()).backward()
                optimiser.step()
        self.updates = update

    def parameters(self) -> dict[str, Tensor]:
        states = [dict(model.named_parameters()) for model, _ in self.models]
        return {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
