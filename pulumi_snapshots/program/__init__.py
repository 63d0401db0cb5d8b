"""The common part of the declarations of resources and lookups.

Arguments, the source snapshot, the create's time-out, and warnings.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import wraps
from inspect import Signature, get_annotations, signature
from pathlib import Path
from traceback import extract_stack
from types import SimpleNamespace, new_class
from typing import Any, ClassVar, NoReturn, Self
from weakref import WeakKeyDictionary

import pulumi
from pulumi.runtime import get_root_resource
from pulumi.runtime.config import get_config, is_config_secret

from pulumi_snapshots.engine import schema_of
from pulumi_snapshots.engine.wording import PLAIN, PYTHON
from pulumi_snapshots.errors.pages import with_pointer
from pulumi_snapshots.program.declaration import (
    INSTEAD_OF_SNAPSHOT,
    WHOLE_NUMBERS,
    outputs_of,
    signature_of,
)
from pulumi_snapshots.properties.catalogue import (
    Inputs,
    Record,
    ResourceSchema,
    Values,
    record_in,
)
from pulumi_snapshots.properties.checks import Problem, is_usual_database_id
from pulumi_snapshots.run.memory import Uses, in_use
from pulumi_snapshots.snapshot.record import ListedProperties

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

GUARD_KNOWN_WITHIN = 60.0
"""Seconds for which a drill waits for the database of a guard, which another resource may give."""
_warned: set[str] = set()  # warnings that this program has shown


class Declared(pulumi.CustomResource):
    """A resource as programs declare it, whichever provider serves it."""

    schema: ClassVar[ResourceSchema]
    """Its definition, which the class of each resource has."""
    _outputs: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **more: Any) -> None:
        """Make what the definition says of a resource's class, or of a program's subclass of it."""
        super().__init_subclass__(**more)
        schema = getattr(cls, "schema", None)
        if schema is None:
            return
        wanted = signature_of(schema)
        if cls.__dict__.get("__doc__") is None:
            _describe(cls, schema, wanted)
        # By these types, and by the engine's names too, the SDK converts what the engine returns:
        # whole numbers are floats there. It looks for them only in the class itself. No others: the
        # SDK evaluates all types again for each resource, which took a sixth of a program with
        # hundreds.
        outputs = outputs_of(schema)
        numbers = [each for each in outputs.values() if each.type in WHOLE_NUMBERS]
        names = [name for each in numbers for name in (each.name, each.camel)]
        converted = dict.fromkeys(names, pulumi.Output[int | None])
        cls.__annotations__ = {**converted, **get_annotations(cls)}
        cls._outputs = tuple(outputs)
        if "__init__" not in cls.__dict__:
            cls.__init__ = _constructor(cls.__name__, wanted)  # type: ignore[method-assign]  # made here

    def _declare(self, given: Mapping[str, Any]) -> None:
        """Register the resource with the arguments of its constructor."""
        has_source = "snapshot" in given
        source = self._source(given) if has_source else {}
        opts, timeout = _without_create_timeout(given["opts"])
        arguments = dict(given)
        if timeout is not None:
            arguments["timeout"] = timeout
        inputs = self._engine_inputs(source, arguments)
        resource_name = given["resource_name"]
        resource = f"{self.schema.name} {resource_name!r}"
        self._register(resource_name, this_program().noted(resource, inputs), opts)
        if not has_source:
            warn_of_unusual_id(given.get("database_id"), self)

    def _engine_inputs(self, source: Values, arguments: Values) -> dict[str, Any]:
        """Return the inputs as the engine takes them.

        Args:
            source: The inputs for which the argument `snapshot` stands.
            arguments: The arguments of the constructor, for all other inputs.
        """
        properties = self.schema.inputs.properties()
        inputs = {
            name: _secret_if_known(value) if properties[name].secret else value
            for name, value in given_values(source).items()
        }
        for name, value in given_values(arguments).items():
            each = properties.get(name)
            if each is not None and name not in source:
                plain = _plain(value) if record_in(each.type) else value
                inputs[name] = pulumi.Output.secret(plain) if each.secret else plain
        return inputs

    def _source(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs for which the argument `snapshot`, or an output of a Snapshot, stands.

        The inputs may be given instead of the argument, but not both.
        """
        instead = [name for name in INSTEAD_OF_SNAPSHOT if name in given]
        given_instead = given_values({name: given[name] for name in instead})
        listed = ListedProperties.properties()
        # In the order of the declaration.
        names = [*filter(listed.get, self.schema.inputs.properties())]

        def refuse(what: str) -> NoReturn:
            raise pulumi.RunError(
                f"{self.schema.name} {given['resource_name']!r}: {what}. Give "
                "snapshot=SNAPSHOT, a Snapshot of this program or one "
                f"that a lookup has found, or instead of it {'=, '.join(instead)}=."
            )

        def read_inputs(value: Any) -> Any:
            if value is None:
                action = self.schema.name.lower()
                reason = (
                    f"nothing to {action} is given, or a lookup has found no snapshot"
                )
                if this_program().guards:
                    reason += LAST_OF_GUARD
                refuse(reason)
            if not all(hasattr(value, name) for name in names):
                refuse(f"snapshot is a {type(value).__name__}")
            return {name: getattr(value, name) for name in names}

        snapshot = given["snapshot"]
        if given_instead and snapshot is not None:
            refuse(f"snapshot and {' and '.join(given_instead)} are given")
        if given_instead:
            return given_instead
        if isinstance(snapshot, pulumi.Output):
            inputs = snapshot.apply(read_inputs)
        else:
            inputs = read_inputs(snapshot)
        return {name: inputs[name] for name in names}

    def _register(
        self,
        resource_name: str,
        inputs: Values,
        opts: pulumi.ResourceOptions | None,
    ) -> None:
        """Register the resource with the engine, as its constructor: each provider's class does."""


class FoundById(Declared):
    """A resource that the service shows by its id alone."""

    @classmethod
    def get(
        cls,
        resource_name: str,
        id: pulumi.Input[str],  # noqa: A002  as in every Pulumi resource
        opts: pulumi.ResourceOptions | None = None,
    ) -> Self:
        """Look up an existing resource by its id, without managing it.

        The run fails if it does not exist.

        Args:
            resource_name: the name in this program.
            id: the id, such as `DATABASE_ID/VERSION_ID` of a snapshot.
            opts: options of the resource; None for the usual ones.

        Returns:
            The resource.
        """
        resource = cls.__new__(cls)
        by_id = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(id=id))
        resource._register(resource_name, {}, by_id)  # noqa: SLF001  its own class
        return resource


def class_of(
    name: str,
    base: type[Declared],
    body: Mapping[str, Any],
    keywords: dict[str, Any] | None = None,
) -> type[Any]:
    """Make the class of a resource from its definition.

    Args:
        name: the resource, such as `Snapshot`.
        base: what its provider's resources share.
        body: what the class has besides.
        keywords: the keywords of the class; None for none.

    Returns:
        The class.
    """
    schema = schema_of(name)
    bases = (base, FoundById) if schema.is_found_by_id else (base,)
    own = {"schema": schema, **body}
    return new_class(name, bases, keywords, lambda space: space.update(own))


def _describe(
    cls: type[Declared],
    schema: ResourceSchema,
    wanted: Signature,
) -> None:
    """Document the class of a resource by its definition."""
    outputs = outputs_of(schema)
    attributes = {name: each.description for name, each in outputs.items()}
    arguments = with_arguments(schema.doc, wanted, schema.inputs)
    cls.__doc__ = arguments + section("Attributes", attributes)


def _constructor(name: str, wanted: Signature) -> Callable[..., None]:
    """The `__init__` of a resource's class."""

    def __init__(self: Declared, *arguments: Any, **named: Any) -> None:  # noqa: N807  a constructor
        self._declare(bound(name, wanted, (self, *arguments), named))

    __init__.__signature__ = wanted  # type: ignore[attr-defined]  # what `inspect` looks for
    return __init__


def _secret_if_known(value: Any) -> pulumi.Output[Any]:
    """A secret; None stays what it is, as of what a lookup has found without a URL."""
    return pulumi.Output.from_input(value).apply(
        lambda known: known and pulumi.Output.secret(known)
    )


def given_values(values: Values) -> dict[str, Any]:
    """Return the values that are not None.

    Args:
        values: the values.
    """
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


def with_arguments(
    doc: str,
    wanted: Signature,
    inputs: type[Inputs],
) -> str:
    """Return a documentation with each argument of a function, as the catalogue describes it.

    Args:
        doc: the documentation.
        wanted: what the function takes.
        inputs: the catalogue's inputs.
    """
    descriptions = dict(OTHER_ARGUMENTS)
    for name, each in inputs.properties().items():
        descriptions[name] = each.description
    _, *names = wanted.parameters
    return doc + section("Args", {name: descriptions[name] for name in names})


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


def naming_class(
    name: str,
    init: Callable[..., None],
) -> Callable[..., None]:
    """Let a constructor's errors name the class, and the argument that was probably meant.

    Args:
        name: the class.
        init: the constructor.

    Returns:
        The constructor, with better errors.
    """
    wanted = signature(init)

    @wraps(init)
    def __init__(self: object, *arguments: Any, **named: Any) -> None:  # noqa: N807  a constructor
        bound(name, wanted, (self, *arguments), named)
        init(self, *arguments, **named)

    return __init__


def bound(
    name: str,
    wanted: Signature,
    arguments: tuple[Any, ...],
    named: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the arguments of a call by their names, with their defaults.

    Args:
        name: the class or function that a program calls.
        wanted: what it takes, the object first.
        arguments: those without a name, the object first.
        named: those with a name.

    Returns:
        The arguments, without the object.

    Raises:
        WrongArgument: an argument is missing, or there is none of its name.
    """
    try:
        call = wanted.bind(*arguments, **named)
    except TypeError as error:
        unfit = str(error)
    else:
        call.apply_defaults()
        del call.arguments["self"]
        return call.arguments
    names = list(wanted.parameters)[1:]
    wrong = [each for each in named if each not in names]
    if wrong:
        rest = f"its arguments are {', '.join(names)}"
        for close in get_close_matches(wrong[0].lower(), names, 1):
            rest = f"did you mean {close!r}?"
        unfit = f"there is no argument {wrong[0]!r}; {rest}"
    caller = extract_stack(limit=3)[0]  # of the class or function
    raise WrongArgument(
        f"{name}: {unfit} ({Path(caller.filename).name}, line {caller.lineno})"
    )


class WrongArgument(pulumi.RunError, TypeError):
    """A resource or function is called with an argument that it does not have.

    Ends a program without a traceback.
    """


class Program:
    """The declarations of a program, for rules that no single resource can check."""

    def __init__(self) -> None:
        self.guards: set[str] = set()
        self.once: Any = None  # what the guards share
        self._uses = Uses()
        self._guarded: list[tuple[str, pulumi.Output[str]]] = []

    def noted(
        self,
        resource: str,
        inputs: Values,
    ) -> dict[str, Any]:
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

    def note_guard(
        self,
        guard: str,
        database_id: pulumi.Input[str],
    ) -> None:
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
    if root is None:
        return Program()
    return _programs.setdefault(root, Program())


# the stack's config, which wins over the environment
PROGRAM_CONFIG = SimpleNamespace(get=get_config)


class LookupFailed(pulumi.RunError):
    """A lookup without a complete answer; ends a program with its text and without a traceback.

    Attributes:
        function: the lookup.
        code: the service's code, such as `DATABASE_NOT_FOUND`; None if there is none, and always
            from the plugin.
        status: HTTP status of the service's answer; None if there is none, and always from the
            plugin.
    """

    def __init__(
        self,
        function: str,
        text: str,
        *,
        why: Exception | None = None,
    ) -> None:
        super().__init__(with_pointer(f"{function}: {text}", why or self))
        self.function = function
        self.code: str | None = getattr(why, "code", None)
        self.status: int | None = getattr(why, "status", None)


def alias_of(
    type_: str,
    resource_name: str,
    opts: pulumi.ResourceOptions | None,
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
    """Warn if a secret is configured in plain text.

    Args:
        resource: the resource on whose row the warning stands; None for the stack's.
    """
    for name, warning in PLAIN.items():
        is_secret = is_config_secret(f"squarecloud:{name}")
        if pulumi.Config("squarecloud").get(name) and not is_secret:
            warn_once(warning, resource)


def warn_of_unusual_id(
    database_id: Any, resource: pulumi.Resource | None = None
) -> None:
    """Warn about a database id that is known already and has an unusual form.

    Args:
        database_id: the id, which can be an output.
        resource: the resource on whose row the warning stands; None for the stack's.
    """
    is_known = isinstance(database_id, str) and database_id
    if is_known and not is_usual_database_id(database_id):
        warn_once(
            f"{database_id!r} does not have the usual form of a database id "
            "(32 hexadecimal digits)",
            resource,
        )


def reasons_of(problems: Iterable[Problem]) -> str:
    """Return one sentence of all that is wrong with inputs, for users of Python.

    Args:
        problems: What is wrong.
    """
    reasons = [f"{each.property} {PYTHON.text(each.with_value())}" for each in problems]
    return f"{'; '.join(reasons)}."


def warn_once(
    text: str,
    resource: pulumi.Resource | None = None,
) -> None:
    """Show a warning, unless this program has shown it already.

    Args:
        text: the warning.
        resource: the resource on whose row the warning stands; None for the stack's.
    """
    if text not in _warned:
        _warned.add(text)
        pulumi.log.warn(text, resource)
