"""The common part of the declarations of resources and lookups.

Arguments, the source snapshot, the create's time-out, and warnings.
"""

import asyncio
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import wraps
from inspect import get_annotations, signature
from pathlib import Path
from traceback import extract_stack
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, NoReturn
from weakref import WeakKeyDictionary

import pulumi
from pulumi.runtime import get_root_resource
from pulumi.runtime.config import get_config, is_config_secret

from pulumi_snapshots.engine.wording import PLAIN_KEY
from pulumi_snapshots.errors.pages import with_pointer
from pulumi_snapshots.properties.catalogue import (
    Inputs,
    Record,
    ResourceSchema,
    in_camel,
    record_in,
)
from pulumi_snapshots.properties.checks import is_usual_database_id
from pulumi_snapshots.run.memory import Uses, in_use
from pulumi_snapshots.snapshot.record import ListedProperties

Origin = Literal["manual", "automatic"]
TypedDuration = str | float  # `90s`, `45m`, `1h30m`, `7d`, or a number of seconds

LAST_OF_GUARD = (
    ", or a guard knows none of the last 30 days, on this machine or in "
    "squarecloud:sharedState"
)
OTHER_ARGUMENTS = {
    "resource_name": "the resource's name in the program.",
    "name": (
        "the guard's name, unique in the program. Keep it: a resource that is deleted is "
        "guarded by name."
    ),
    "snapshot": "a Snapshot, or the result of a lookup; or give the inputs that name the snapshot. "
    "`pulumi.RunError` if neither is given, or both.",
    "opts": "as for every resource; a lookup takes `pulumi.InvokeOptions`, with the plugin only.",
}
"""The arguments of resources and functions that are none of their inputs."""

INSTEAD_OF_SNAPSHOT = ("database_id", "version_id", "download_url")
"""The inputs that may be given instead of the argument `snapshot`."""
GUARD_KNOWN_WITHIN = 60.0
"""Seconds for which a drill waits for the database of a guard, which another resource may give."""
_said: set[str] = set()  # warnings that this program has shown


class Declared(pulumi.CustomResource):
    """A resource as programs declare it, whichever provider serves it."""

    # its properties, which the class that declares it has
    schema: ClassVar[ResourceSchema]
    _outputs: ClassVar[tuple[str, ...]]
    """Those that programs read. The SDK makes an output of each that a resource names, which costs
    a program with hundreds.
    """

    def __init_subclass__(cls, **more: Any) -> None:
        """Copy the declaration to each provider's class.

        The SDK looks for types there, and a wrong argument's error names it.
        """
        super().__init_subclass__(**more)
        declarations = [base for base in cls.__mro__ if "schema" in base.__dict__]
        if declarations and declarations[0] is cls:
            cls._describe()
        elif declarations:
            cls._take_over(declarations[0])

    @classmethod
    def _describe(cls) -> None:
        """Document a declaration by its catalogue."""
        outputs = cls.schema.outputs
        cls._outputs = tuple(name for name in outputs if name in cls.__annotations__)
        attributes = {name: outputs[name].description for name in cls._outputs}
        arguments = with_arguments(cls.schema.doc, cls.__init__, cls.schema.inputs)
        cls.__doc__ = arguments + section("Attributes", attributes)

    @classmethod
    def _take_over(cls, declaration: type) -> None:
        """Give a provider's class what the SDK looks for only in the class itself."""
        cls.__doc__ = cls.__dict__.get("__doc__") or declaration.__doc__
        # By these types, and by the engine's names too, the SDK converts what the engine returns:
        # whole numbers are floats there. No others: the SDK evaluates all types again for each
        # resource, which took a sixth of a program with hundreds.
        types = declaration.__annotations__.items()
        numbers = [name for name, type_ in types if "Output[int" in type_]
        names = (*numbers, *map(in_camel, numbers))
        converted = dict.fromkeys(names, pulumi.Output[int | None])
        cls.__annotations__ = {**converted, **get_annotations(cls)}
        if "__init__" not in cls.__dict__:
            init = naming_class(cls.__name__, declaration.__dict__["__init__"])
            cls.__init__ = init  # type: ignore[method-assign]

    def _declare(
        self, given: Mapping[str, Any], source: Mapping[str, Any] | None = None
    ) -> None:
        """Register the resource with the arguments of its constructor.

        `source` is what they say of the snapshot, if they do it otherwise.
        """
        if source is None:
            source = self._source(given) if "snapshot" in given else {}
        opts, timeout = _without_create_timeout(given["opts"])
        every = dict(given)
        if timeout is not None:
            every["timeout"] = timeout
        inputs = _given(source)
        for name, value in _given(every).items():
            each = self.schema.inputs.properties().get(name)
            if each is not None and name not in source:
                plain = _plain(value) if record_in(each.type) else value
                inputs[name] = pulumi.Output.secret(plain) if each.secret else plain
        resource = f"{self.schema.name} {given['resource_name']!r}"
        self._register(
            given["resource_name"], this_program().noted(resource, inputs), opts
        )

    def _source(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs for which the argument `snapshot`, or an output of it, stands.

        They may be given instead, but not both.
        """
        instead = [name for name in INSTEAD_OF_SNAPSHOT if name in given]
        known = _given({name: given[name] for name in instead})
        # In the order of the declaration.
        names = [
            *filter(ListedProperties.properties().get, self.schema.inputs.properties())
        ]

        def refuse(what: str) -> NoReturn:
            raise pulumi.RunError(
                f"{self.schema.name} {given['resource_name']!r}: {what}. Give "
                "snapshot=SNAPSHOT, a Snapshot of this program or one "
                f"that a lookup has found, or instead of it {'=, '.join(instead)}=."
            )

        def read_inputs(value: Any) -> Any:
            if value is None:
                action = self.schema.name.lower()
                why = f"nothing to {action} is given, or a lookup has found no snapshot"
                if this_program().guards:
                    why += LAST_OF_GUARD
                refuse(why)
            if not all(hasattr(value, name) for name in names):
                refuse(f"snapshot is a {type(value).__name__}")
            return {name: getattr(value, name) for name in names}

        snapshot = given["snapshot"]
        if known and snapshot is not None:
            refuse(f"snapshot and {' and '.join(known)} are given")
        if known:
            return known
        if isinstance(snapshot, pulumi.Output):
            found = snapshot.apply(read_inputs)
        else:
            found = read_inputs(snapshot)
        return {name: found[name] for name in names}

    def _register(
        self,
        resource_name: str,
        inputs: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None,
    ) -> None:
        """Register the resource with the engine, as its constructor: each provider's class does."""


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are given."""
    return {name: value for name, value in values.items() if value is not None}


def _without_create_timeout(
    opts: pulumi.ResourceOptions | None,
) -> tuple[pulumi.ResourceOptions | None, str | None]:
    """Split the time-out of a create from the options of a resource.

    The engine applies none to dynamic resources, and cannot read `7d`.

    Returns:
        The other options, a copy since the program may use its options elsewhere too, and the
        time-out; None if there is none.
    """
    custom = opts.custom_timeouts if opts is not None else None
    if custom is None or custom.create is None:
        return opts, None
    others = pulumi.ResourceOptions.merge(opts, None)
    others.custom_timeouts = pulumi.CustomTimeouts(
        update=custom.update, delete=custom.delete
    )
    return others, custom.create


def with_arguments(doc: str, function: Callable[..., Any], inputs: type[Inputs]) -> str:
    """Return a documentation with each argument of a function, as the catalogue describes it.

    Args:
        doc: the documentation.
        function: the function.
        inputs: the catalogue's inputs.
    """
    known = dict(OTHER_ARGUMENTS)
    for name, each in inputs.properties().items():
        known[name] = each.description
    names = list(signature(function).parameters)[1:]
    return doc + section("Args", {name: known[name] for name in names})


def section(title: str, described: Mapping[str, str]) -> str:
    """Return a section of a docstring, which describes names.

    Args:
        title: the section's title.
        described: the descriptions by the names.
    """
    lines = [f"\n\n{title}:"]
    lines += [
        f"    {name}: {text[0].lower()}{text[1:]}" for name, text in described.items()
    ]
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """Records as the engine takes them, also those that are outputs."""
    if isinstance(value, pulumi.Output):
        return value.apply(_plain)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.to_outputs() if isinstance(value, Record) else value


def naming_class(name: str, init: Callable[..., None]) -> Callable[..., None]:
    """Let a constructor's errors name the class, and the argument that was probably meant.

    Args:
        name: the class.
        init: the constructor.

    Returns:
        The constructor, with better errors.
    """
    wanted = signature(init)
    names = list(wanted.parameters)[1:]

    @wraps(init)
    def __init__(self: object, *arguments: Any, **named: Any) -> None:  # noqa: N807  a constructor
        try:
            wanted.bind(self, *arguments, **named)
        except TypeError as error:
            unfit = str(error)
            wrong = [each for each in named if each not in names]
            if wrong:
                rest = f"its arguments are {', '.join(names)}"
                for close in get_close_matches(wrong[0].lower(), names, 1):
                    rest = f"did you mean {close!r}?"
                unfit = f"there is no argument {wrong[0]!r}; {rest}"
            caller = extract_stack(limit=2)[0]
            raise WrongArgument(
                f"{name}: {unfit} ({Path(caller.filename).name}, line {caller.lineno})"
            ) from None
        init(self, *arguments, **named)

    return __init__


class WrongArgument(pulumi.RunError, TypeError):
    """A resource is declared with an argument that it does not have.

    Ends a program without a traceback.
    """


class Program:
    """The declarations of a program, for rules that no single resource can check."""

    def __init__(self) -> None:
        self.guards: set[str] = set()
        self.once: Any = None  # what the guards share
        self._uses = Uses()
        self._guarded: list[tuple[str, pulumi.Output[str]]] = []

    def noted(self, resource: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Note a resource's databases, and check that no drill overwrites another resource's.

        A provider's check sees only targeted resources, and no guard of another process.

        Args:
            resource: The resource's name for an error.
            inputs: Its inputs.

        Returns:
            The inputs. The scratch database of a drill fails the drill if something uses the
            database.
        """
        for name in ("database_id", "target_database_id"):
            database_id = inputs.get(name)
            if isinstance(database_id, str):
                self._uses.remember_use(database_id, resource)
        scratch = inputs.get("scratch_database_id")
        if scratch is None:
            return dict(inputs)

        async def checked(database_id: str) -> str:
            await self._learn_guarded(resource)
            other = self._uses.user_of(database_id)
            if other is not None:
                raise pulumi.RunError(
                    f"{resource}: scratch_database_id {in_use(other)}."
                )
            return database_id

        # The engine gets the drill once all is declared.
        return {
            **inputs,
            "scratch_database_id": pulumi.Output.from_input(scratch).apply(checked),
        }

    def note_guard(self, guard: str, database_id: pulumi.Input[str]) -> None:
        """Note the database of a guard, which can become known only later.

        Args:
            guard: The guard's name for an error.
            database_id: The database.
        """
        if isinstance(database_id, str):
            self._uses.remember_use(database_id, guard)
        else:
            self._guarded.append((guard, pulumi.Output.from_input(database_id)))

    async def _learn_guarded(self, drill: str) -> None:
        """Wait for the databases of all guards; raises `RunError` if one does not become known."""
        for guard, output in self._guarded:
            try:
                database_id = await asyncio.wait_for(
                    output.future(), GUARD_KNOWN_WITHIN
                )
            except TimeoutError:
                raise pulumi.RunError(
                    f"{drill}: the database of {guard} is not known within "
                    f"{GUARD_KNOWN_WITHIN:.0f} s, so nothing shows that it is not the "
                    f"scratch database."
                ) from None
            if database_id is not None:  # A preview does not know all.
                self._uses.remember_use(database_id, guard)


_programs: WeakKeyDictionary[pulumi.Resource, Program] = WeakKeyDictionary()
"""By stack: the Automation API runs many."""


def this_program() -> Program:
    """Return the program that is running."""
    root = get_root_resource()
    return Program() if root is None else _programs.setdefault(root, Program())


# the stack's config, which wins over the environment
PROGRAM_CONFIG = SimpleNamespace(get=get_config)


class LookupFailed(pulumi.RunError):
    """A lookup without a certain answer; ends a program with its text and without a traceback.

    Attributes:
        function: the lookup.
        code: the service's code, such as `DATABASE_NOT_FOUND`; None if there is none, and always
            from the plugin.
        status: HTTP status of the service's answer; None if there is none, and always from the
            plugin.
    """

    def __init__(
        self, function: str, text: str, *, why: Exception | None = None
    ) -> None:
        super().__init__(with_pointer(f"{function}: {text}", why or self))
        self.function = function
        self.code: str | None = getattr(why, "code", None)
        self.status: int | None = getattr(why, "status", None)


def alias_of(
    type_: str, resource_name: str, opts: pulumi.ResourceOptions | None
) -> pulumi.Alias | str:
    """Return the alias of a resource that the state may have with another type.

    Args:
        type_: the other type.
        resource_name: the resource's name.
        opts: the resource's options; None without any.
    """
    if opts is not None and opts.parent is not None:
        return pulumi.Alias(type_=type_)
    # The SDK makes a dozen outputs of any alias but a URN, for each resource.
    return f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{type_}::{resource_name}"


def warn_of_plain_key(resource: pulumi.Resource | None = None) -> None:
    """Warn if the API key is configured in plain text.

    Args:
        resource: the resource on whose row the warning stands; None for the stack's.
    """
    if pulumi.Config("squarecloud").get("apiKey") and not is_config_secret(
        "squarecloud:apiKey"
    ):
        warn_once(PLAIN_KEY, resource)


def warn_of_unusual_id(
    database_id: Any, resource: pulumi.Resource | None = None
) -> None:
    """Warn about a database id that is known already and has an unusual form.

    Args:
        database_id: the id, which can be an output.
        resource: the resource on whose row the warning stands; None for the stack's.
    """
    if (
        isinstance(database_id, str)
        and database_id
        and not is_usual_database_id(database_id)
    ):
        warn_once(
            f"{database_id!r} does not have the usual form of a database id "
            "(32 hexadecimal digits)",
            resource,
        )


def warn_once(text: str, resource: pulumi.Resource | None = None) -> None:
    """Show a warning, unless this program has shown it already.

    Args:
        text: the warning.
        resource: the resource on whose row the warning stands; None for the stack's.
    """
    if text not in _said:
        _said.add(text)
        pulumi.log.warn(text, resource)
