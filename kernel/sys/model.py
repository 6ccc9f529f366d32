"""The model family, its registry half: list, info, add, load, unload."""

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.trap import Trap
from kernel.wait import seconds
from syscalls.calls import model as abi


def list_(machine: Machine, trap: Trap, args: abi.ListModels) -> abi.Models:
    return abi.Models(models=machine.devices.models())


def info(machine: Machine, trap: Trap, args: abi.ModelName) -> abi.ModelInfo:
    return machine.devices.info(args.model)


async def add(machine: Machine, trap: Trap, args: abi.AddModel) -> abi.ModelInfo:
    return await machine.devices.add(args.name, args.origin, args.driver, args.options)


async def load(machine: Machine, trap: Trap, args: abi.ModelName) -> abi.ModelInfo:
    return await machine.devices.load(args.model)


async def unload(machine: Machine, trap: Trap, args: abi.Unload) -> abi.ModelInfo:
    return await machine.devices.unload(args.model, timeout_s=seconds(args.timeout_s), force=args.force)


HANDLERS: dict[int, Handler] = {
    abi.LIST.number: list_,
    abi.INFO.number: info,
    abi.ADD.number: add,
    abi.LOAD.number: load,
    abi.UNLOAD.number: unload,
}
