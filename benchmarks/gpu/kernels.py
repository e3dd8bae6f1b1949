"""Each kernel on the GPU against its torch twin, and its speed as bytes that must move over time. Prints a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tradewind.training import kernels as K
from tradewind.training.kernels.cast import E4M3, E5M2, scaled
from tradewind.training.kernels.update import AdamWNumbers

NUMBERS = AdamWNumbers(3e-4, (0.9, 0.95), 1e-8, 0.1, 7)


def main(rows: int = 8192, hidden: int = 4096, ffn: int = 14336) -> None:
    torch.manual_seed(0)
    for name, work, inputs, moved in cases(rows, hidden, ffn):
        small = [cut(x) for x in inputs]
        mine = flat(work(*[x.clone() for x in small]))
        twin = flat(work(*[x.cpu() for x in small]))
        error = max(
            float((a.cpu().double() - b.double()).norm() / b.double().norm().clamp(min=1e-20))
            for a, b in zip(mine, twin, strict=True)
        )
        spent = seconds(lambda: work(*inputs))  # noqa: B023
        print(f"{name:24s} error {error:8.1e}  {spent * 1e3:7.3f} ms  {moved / spent / 1e12:5.2f} TB/s", flush=True)


def cases(rows: int, hidden: int, ffn: int) -> list[tuple[str, Callable[..., Any], list[Tensor], float]]:
    def bf(*size: int) -> Tensor:
        return torch.randn(*size, device="cuda", dtype=torch.bfloat16)

    x, y, w = bf(rows, hidden), bf(rows, hidden), bf(hidden).abs()
    inverse = torch.rand(rows, device="cuda") + 0.5
    wide, inner = bf(rows, 2 * ffn), bf(rows, ffn)
    small, large = 2 * rows * hidden, 2 * rows * ffn
    angle = torch.randn(rows, 64, device="cuda").repeat(1, 2)
    joined, q, k, v = bf(rows, 48 * 128), bf(rows, 32, 128), bf(rows, 8, 128), bf(rows, 8, 128)
    top = x.abs().max().float()
    logits, targets = bf(4096, 128256), torch.randint(0, 128256, (4096,), device="cuda")
    a, g, m, s = bf(8192 * 14336), bf(8192 * 14336), bf(8192 * 14336), bf(8192 * 14336).abs()
    shrink = torch.tensor(0.5, device="cuda")
    masters = [t.float() for t in (a[: 1 << 26], m[: 1 << 26], s[: 1 << 26])]
    copy = torch.empty(1 << 26, device="cuda", dtype=torch.bfloat16)

    def noted(f: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Tensor) -> Any:
            top = torch.zeros((), device=args[0].device)
            out = f(*args, top)
            return (*(out if isinstance(out, tuple) else (out,)), top)

        return run

    def turned(joined: Tensor, angle: Tensor) -> Tensor:
        K.turn_(joined, angle.cos(), angle.sin(), 40)
        return joined

    def adamw(weight: Tensor, grad: Tensor, mean: Tensor, spread: Tensor, shrink: Tensor, *copy: Tensor) -> Any:
        K.adamw_(weight, grad, mean, spread, shrink, NUMBERS, *copy)
        return weight, mean, spread

    def cast(*both: bool, dtype: torch.dtype = E4M3) -> Callable[[Tensor, Tensor], Any]:
        def run(x: Tensor, top: Tensor) -> list[Tensor]:
            out = scaled((x,), top, dtype, rows=both[0], columns=both[1])
            return [
                part.float() for part in (out.rows, out.columns, out.scale) if part is not None and len(x) < 1000
            ] or [out.scale]

        return run

    return [
        ("rms_norm", lambda x, w: K.rms_norm(x, w, 1e-5), [x, w], 2 * small),
        ("add_rms_norm top", noted(lambda x, y, w, t: K.add_rms_norm(x, y, w, 1e-5, t)), [x, y, w], 4 * small),
        ("rms_norm_backward", lambda *t: K.rms_norm_backward(*t), [x, y, w, inverse, x], 4 * small),
        ("rms_norm_backward top", noted(K.rms_norm_backward), [x, y, w, inverse, x], 4 * small),
        ("turn", turned, [joined, angle], 2 * 2 * rows * 40 * 128),
        (
            "join_turned_back top",
            noted(lambda q, k, v, a, t: K.join_turned_back(q, k, v, a.cos(), a.sin(), t)),
            [q, k, v, angle],
            2 * 2 * rows * 48 * 128,
        ),
        ("swiglu", lambda x: K.swiglu(x), [wide], 3 * large),
        ("swiglu top", noted(K.swiglu), [wide], 3 * large),
        ("swiglu_backward", lambda g, x: K.swiglu_backward(g, x), [inner, wide], 6 * large),
        ("swiglu_backward top", noted(K.swiglu_backward), [inner, wide], 6 * large),
        ("largest", lambda x: K.largest(x), [x], small),
        ("largest wide", lambda x: K.largest(x), [wide], 2 * large),
        ("cast rows", cast(True, False), [wide, top], 3 * large),
        ("cast columns", cast(False, True), [wide, top], 3 * large),
        ("cast both", cast(True, True, dtype=E5M2), [wide, top], 4 * large),
        ("cast both hidden", cast(True, True, dtype=E5M2), [x, top], 2 * small),
        (
            "cross_entropy",
            lambda x, y: (K.cross_entropy_(x, y[: len(x)], 1e-4), x),
            [logits, targets],
            2 * 2 * logits.numel(),
        ),
        ("squares", lambda x: K.squares([x.flatten()], [1.0]), [a], 2 * a.numel()),
        ("adamw bf16", adamw, [a, g, m, s, shrink], 14 * a.numel()),
        ("adamw float32 + copy", adamw, [masters[0], g[: 1 << 26], *masters[1:], shrink, copy], 28 * (1 << 26)),
    ]


def cut(x: Tensor) -> Tensor:
    if x.dim() == 0 or (x.dim() == 1 and x.numel() <= 4096):
        return x
    return x[:256].clone() if x.dim() > 1 or x.numel() == 8192 else x[: 1 << 16].clone()


def flat(out: Any) -> list[Tensor]:
    return list(out) if isinstance(out, tuple | list) else [out]


def seconds(work: Callable[[], object]) -> float:
    import triton  # type: ignore[import-not-found]

    return float(triton.testing.do_bench(work, warmup=10, rep=40, return_mode="median")) / 1e3


if __name__ == "__main__":
    main()
