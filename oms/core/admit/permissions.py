"""Rules about who may order what: accounts, kinds of account, contracts and asset classes."""

from __future__ import annotations

from typing import Final

from oms.core.admit.limits import LIVE_PORTS, PAPER_PORTS, Limits, is_paper
from oms.core.admit.proposal import Proposal
from oms.core.admit.rule import Denial, Rule
from oms.core.bounds import brief


def _account(proposal: Proposal, limits: Limits) -> Denial | None:
    allowed = limits.accounts or proposal.managed_accounts
    if proposal.account in allowed and proposal.account in proposal.managed_accounts:
        return None
    return Denial(
        "account",
        proposal.account,
        ", ".join(allowed),
        f"account {brief(proposal.account)} is not one of {', '.join(allowed) or 'none'}",
    )


def _mode(proposal: Proposal, limits: Limits) -> Denial | None:
    paper = limits.mode == "paper"
    if paper and not is_paper(proposal.account):
        text = f"account {proposal.account} is a live one while OMS_MODE is paper"
        return Denial("mode", proposal.account, "paper", text)
    wrong = LIVE_PORTS if paper else PAPER_PORTS
    if limits.port not in wrong:
        return None
    other = "live" if paper else "paper"
    text = f"port {limits.port} is the one of a {other} gateway while OMS_MODE is {limits.mode}"
    return Denial("mode", f"port {limits.port}", limits.mode, text)


def _contracts(proposal: Proposal, limits: Limits) -> Denial | None:
    contract = proposal.contract
    names = {contract.symbol.upper(), str(contract.con_id)}
    if not limits.contracts or names & {one.upper() for one in limits.contracts}:
        return None
    allowed = ", ".join(limits.contracts)
    text = f"{contract.symbol} (con id {contract.con_id}) is not one of {allowed}"
    return Denial("contracts", contract.symbol, allowed, text)


def _sec_types(proposal: Proposal, limits: Limits) -> Denial | None:
    kind = proposal.contract.sec_type
    if not limits.sec_types or kind in {one.upper() for one in limits.sec_types}:
        return None
    allowed = ", ".join(limits.sec_types)
    return Denial("sec_types", kind, allowed, f"asset class {kind} is not one of {allowed}")


def _mode_text(limits: Limits) -> str:
    return f"{limits.mode}, port {limits.port}" if limits.port else limits.mode


ACCOUNT: Final = Rule(
    name="account",
    reads="the account, those of the settings and those of the gateway",
    refuses="an account that is not allowed or that the gateway does not manage",
    settings=("accounts",),
    refuse=_account,
    limit=lambda proposal, limits: (
        ", ".join(limits.accounts or proposal.managed_accounts) or "none"
    ),
)
MODE: Final = Rule(
    name="mode",
    reads="the account's first letters (DU and DF are paper) and the gateway's port",
    refuses="a live account or a live gateway's port (4001, 7496) under `paper`; a paper gateway's"
    " port (4002, 7497) under `live`",
    settings=("mode", "port"),
    refuse=_mode,
    limit=lambda _proposal, limits: _mode_text(limits),
)
CONTRACTS: Final = Rule(
    name="contracts",
    reads="symbol and con id",
    refuses="a contract that is not on the list",
    settings=("order_contracts",),
    refuse=_contracts,
    limit=lambda _proposal, limits: ", ".join(limits.contracts),
)
SEC_TYPES: Final = Rule(
    name="sec_types",
    reads="the asset class",
    refuses="an asset class that is not on the list",
    settings=("order_sec_types",),
    refuse=_sec_types,
    limit=lambda _proposal, limits: ", ".join(limits.sec_types),
)
