"""Which account an address stands for, and the names that it goes by for whoever asks."""

from typing import final

from kernel.accounts.account_record import Account
from kernel.ledger import Ledger
from kernel.process import Process
from kernel.process_table import ProcessTable
from syscalls.errors import NotFound

OWN = "own"


@final
class Roster:
    """Finds accounts by `own`, by pid and by name."""

    def __init__(self, ledger: Ledger, processes: ProcessTable) -> None:
        self._ledger = ledger
        self._processes = processes

    def find(self, process: Process, address: str | None) -> Account:
        """The account that `process` means. Raises NotFound (ENOENT), or NoSuchProcess (ESRCH) for a pid."""
        if address is None or address == OWN:
            return process.account
        if address.isdecimal():
            return self._processes.get(int(address)).account
        found = self._ledger.find(address)
        if found is None:
            known = ", ".join(each.name for each in self._ledger.named())
            raise NotFound(f"no account {address[:80]!r}: there are {known}, and one of each process, by its pid")
        return found

    def names(self, process: Process, address: str | None) -> tuple[str, ...]:
        """The resource names of an account, for the check of rights. Raises as `find`."""
        account = self.find(process, address)
        names = [f"account:{account.address}"]
        if account is process.account:
            names.insert(0, "account:own")
        elif process.account in account.chain():
            names.append("account:children")
        return tuple(names)
