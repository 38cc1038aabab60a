#!/usr/bin/env python3
"""Breaks the engine in one place at a time and shows whether the tests of this folder notice.

    mutate.py BUILD_DIRECTORY [NAME...]     of a build whose sync_test is up to date (Ninja)

A mutant is one replaced piece of text, compiled and linked in front of the engine's library; the sources are not
touched. The told runs and tables are asked first, then the simulation. Exit 1: a mutant lives that should not, or its
text is no longer there.
"""
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
ROOM = "collector/sync/"
HISTORIES = os.environ.get("MAILHAUL_HISTORIES", "4000")

# (name, file (of the room, or from the top), what is there, what takes its place[, why it may live])
MUTANTS = [
    # plan.cc: the decision
    ("adopt never", "plan.cc", "if (find(key)) return act(Adopt{", "if (false) return act(Adopt{"),
    ("adopt under any reuse", "plan.cc", "const auto reuse = row ? row->reuse : 0;", "const std::uint32_t reuse = 0;"),
    ("kept elsewhere and here", "plan.cc", "if (!message.elsewhere.empty())", "if (false)"),
    ("every label downloads", "once.cc", "return lies_here(one) || before(one, row.uid);", "return false;"),
    ("excluded are not listed again", "once.cc", "if (known && row->state == MessageState::Excluded)", "if (false)",
     "matters only where a day's allowance runs out between two labels"),
    ("all mailboxes are of one rank", "once.cc", "at->source.rank >= work.source.rank", "true"),
    ("exclude nothing by size", "plan.cc", "if (message.size && *message.size > policy_.max_size)", "if (false)"),
    ("exclude by size, one octet early", "plan.cc", "*message.size > policy_.max_size", "*message.size >= policy_.max_size"),
    ("exclude nothing by date", "plan.cc", "*message.date < policy_.since", "false"),
    ("excluded stay excluded", "plan.cc", "case MessageState::Excluded:\n      case MessageState::Failed:\n      case MessageState::Gone:\n        return undelivered",
     "case MessageState::Excluded:\n        return;\n      case MessageState::Failed:\n      case MessageState::Gone:\n        return undelivered"),
    ("failed are tried at once", "plan.cc", "row->next_try > now_) return;", "false) return;"),
    ("failed are tried a second late", "plan.cc", "row->next_try > now_)", "row->next_try >= now_)"),
    ("the removed come back", "plan.cc", "    if (!copy) {  //", "    if (!copy) act(Deliver{message.uid, key_of_(message.uid, row.reuse), row.reuse, false});\n    if (!copy) {  //"),
    ("flags as a whole", "plan.cc", "act(StoreFlags{message.uid, *key, merged(base, *source, copy->flags), *source});", "act(StoreFlags{message.uid, *key, *source, *source});"),
    ("source wins nothing", "plan.cc", "return destination.minus(dropped).united(added);", "return destination.united(added);"),
    ("owner wins nothing", "plan.cc", "const auto added = source.minus(base);", "const auto added = source;"),
    ("the intended base holds", "plan.cc", "if (!row.next_base) return row.base;", "if (row.next_base) return *row.next_base;\n  if (!row.next_base) return row.base;"),
    ("the old base holds", "plan.cc", "if (!row.next_base) return row.base;", "return row.base;"),
    ("the copy is the base", "plan.cc", "return agreed.united(disputed.intersected(copy));", "return copy;"),
    ("an intent is never settled", "plan.cc", "if (*source == base && !row.next_base) return;", "if (*source == base) return;"),
    ("vanished stay vanished", "plan.cc", "    act(Revive{message.uid});\n", ""),
    ("what we removed is not brought back", "plan.cc", "if (!placed_key(ledger_, message.uid) || (row.removal == Removal::Meant && !copy)) {", "if (false) {"),
    ("a removal that was cut off is its owner's", "plan.cc", "(row.removal == Removal::Meant && !copy)", "false"),
    ("a mark stays on what is there again", "plan.cc", "if (!marked) return;", "return;"),
    ("held or unclean, copies are touched", "plan.cc", "if (!source_.removals || policy_.on_source_delete == OnSourceDelete::Keep) return;", "if (policy_.on_source_delete == OnSourceDelete::Keep) return;",
     "the planner is asked about vanished rows with removals allowed, or right when they vanish; then nothing is executed that early"),
    ("keep touches copies", "plan.cc", "if (!source_.removals || policy_.on_source_delete == OnSourceDelete::Keep) return;", "if (!source_.removals) return;"),
    ("no grace period", "plan.cc", "if (!flag && now_ - since < policy_.grace && copy) return;", ""),
    ("a grace period a second longer", "plan.cc", "now_ - since < policy_.grace", "now_ - since <= policy_.grace"),
    ("what its owner removed is ours", "plan.cc", "return row.removal == Removal::Meant ? act(Remove{row.uid, *key}) : act(NoteRemoved{row.uid});", "return act(Remove{row.uid, *key});"),
    ("a mark comes back", "plan.cc", "if (base.has(kSourceGone) && !row.next_base) return;", ""),
    ("the fuse blows at 50", "plan.cc", "vanished > policy.fuse_messages", "vanished >= policy.fuse_messages"),
    ("the fuse blows at 20 %", "plan.cc", "vanished * 100 > (vanished + left)", "vanished * 100 >= (vanished + left)"),
    ("an empty mailbox is no anomaly", "plan.cc", "if (left == 0) return true;", ""),
    # identity.cc, intake.cc, ports.cc
    ("UIDs mean the same for ever", "identity.cc", "if (row.id.value == 0 || work.source.named) return std::string();", "return std::string();"),
    ("the newest known are not looked at again", "observe.cc", "    if (auto r = landmarks(work, requests.back()); !r) return r;\n", ""),
    ("a date that differs is no hint", "identity.cc", "row.date_source == 0 && row.internal_date && seen.date != INT64_MAX && *row.internal_date != seen.date;", "false;",
     "the sizes of the messages that change places differ, too"),
    ("some gone and some new: nothing to look at", "identity.cc", "if (!known->minus(work.view.present).empty() && !work.view.present.minus(*known).empty()) return false;", ""),
    ("what a day has brought is not counted", "intake.cc", "  arrivals_.received(chunk.size());\n", ""),
    ("what has been asked for is not counted", "ports.cc", "  if (allowance_) allowance_->asked(slice.uids.size());\n", ""),
    # removals.cc, rename.cc, moves.cc
    ("no fuse", "removals.cc", "if (auto held = hold_anomalies(); !held) return held;", ""),
    ("no fuse for the account", "removals.cc", "if (losing.empty() || !anomalous(policy, all_vanished, all_left)) return done();", "return done();"),
    ("a hold holds nothing", "removals.cc", "!work.row.held.empty() || work.fresh_generation)", "work.fresh_generation)"),
    ("the fuse forgets after a day", "removals.cc", "std::max(policy.grace, kDay);\n  const bool waiting", "kDay;\n  const bool waiting"),
    ("the fuse forgets what waits", "removals.cc", "const bool waiting = policy.on_source_delete == OnSourceDelete::Remove;", "const bool waiting = false;"),
    ("copies go without another question", "removals.cc", "missing = missing.minus(*shown);", ""),
    ("copies go in a mailbox that is not clean", "removals.cc", "!work.planned || !work.clean ||", "!work.planned ||"),
    ("removals are not said", "removals.cc", "said->set_removal(id, generation, removal.uid, Removal::Meant)", "said->set_removal(id, generation, removal.uid, Removal::None)"),
    ("removals are settled before they are done", "removals.cc", "said->set_removal(id, generation, removal.uid, Removal::Meant)", "said->set_removal(id, generation, removal.uid, Removal::Done)"),
    ("removals are not synced", "removals.cc", "  if (auto r = context_.destination->sync_directory(work.row.destination); !r) return r;\n\n  auto settled", "\n  auto settled"),
    ("a release is for ever", "removals.cc", "return std::max(context_.clock->unix_seconds(), work.row.released + 1);", "return std::min<std::int64_t>(work.row.released, 1);"),
    ("a release releases nothing", "engine.cc", "row.held.clear();", ""),
    ("a release counts what it released", "engine.cc", "row.released = std::max(row.released + 1, context_.clock->unix_seconds());", ""),
    ("a new UIDVALIDITY holds nothing", "observe.cc", "work.row.held = \"its UIDVALIDITY changed\";", ""),
    ("removals meant in an old generation", "observe.cc", "if (auto r = settle_removals_of_the_old(work, *transaction); !r) return r;", ""),
    ("no audit", "engine.cc", "work.audit = since_audit < 0 || since_audit >= kDay || !due->empty();", "work.audit = !due->empty();"),
    ("no look at what is due", "engine.cc", "work.audit = since_audit < 0 || since_audit >= kDay || !due->empty();", "work.audit = since_audit < 0 || since_audit >= kDay;"),
    ("an audit without flags", "observe.cc", "return !work.audit && work.source.highest_modseq", "return work.source.highest_modseq"),
    ("what is back is not counted", "observe.cc", "for (const auto uid : told) fresh.add(uid);", "(void)told;"),
    ("renames are not seen", "rename.cc", "return renames.empty() ? done() : rename_rows(std::move(renames), known);", "return done();"),
    ("UIDVALIDITY is evidence", "rename.cc", "return row.header_digest == message.evidence.header_digest && row.internal_date == message.date;", "return true;"),
    ("half is most", "rename.cc", "agreed * 10 >= of * 9", "agreed * 10 >= of * 4"),
    ("files under the old name are forgotten", "rename.cc", "if (auto r = settle_files_of_the_old(old, *transaction, key_maker(account_.uuid, row.raw_name, row.uid_validity));\n        !r)\n      return r;", ""),
    ("moves are not seen", "moves.cc", "  if (lost->empty()) return done();", "  return done();"),
    ("shared evidence moves", "moves.cc", "if (end - it == 1) alone.push_back(std::move(*it));", "alone.push_back(std::move(*it));"),
    ("a copy is not read again before it moves", "moves.cc", "if (received->sha256 != *from.what.sha256) return false;", ""),
    ("another size moves", "moves.cc", "(message.what.size && message.what.size != from->what.octets)", "false"),
    ("what was moved is missing", "moves.cc", "if (auto r = transaction->not_missing(old.id, old.generation, from->what.uid); !r) return r;", ""),
    ("the owner's flags stay behind", "moves.cc", "merged(from.what.base, row.base, *flags)", "row.base"),
    ("silence is vanishing", "plan.cc", "source_.vanished.each([&](Uid uid) {",
     "for (const auto& r : ledger_.rows)\n      if (std::ranges::find(source_.messages, r.uid, &SourceMessage::uid) == source_.messages.end()) vanished(r);\n    source_.vanished.each([&](Uid uid) {"),
    ("failed never go", "plan.cc", "case MessageState::Excluded:\n      case MessageState::Failed:\n        return act(MarkGone{row.uid});",
     "case MessageState::Excluded:\n        return act(MarkGone{row.uid});\n      case MessageState::Failed:\n        return;"),
    # key.cc
    ("the key without UIDVALIDITY", "key.cc", "validity ? std::to_string(validity->value) : \"none\"", "validity ? \"1\" : \"none\""),
    ("the key without reuse", "key.cc", "text.append(std::to_string(reuse));", "(void)reuse;"),
    # settle.cc: say, adopt, level, move
    ("deliveries are not said", "settle.cc", "if (!work.todo.list.empty())\n", "if (false)\n"),
    ("flags are not said", "settle.cc", "if (auto r = transaction->intend_flags(id, generation, store.uid, store.base); !r) return r;", "{}"),
    ("flags are settled before they are stored", "settle.cc", "transaction->intend_flags(id, generation, store.uid, store.base)",
     "transaction->settle_flags(id, generation, store.uid, store.base)"),
    ("renames are not synced", "settle.cc", "if (auto r = context_.destination->sync_directory(work.row.destination); !r) return r;", ""),
    ("any file is adopted", "settle.cc", "if (row->header_digest == headers.evidence.header_digest) {", "{"),
    ("adopted flags are the server's", "settle.cc", "row->base = headers.flags.intersected(*flags);", "row->base = headers.flags;"),
    ("adopted flags are the copy's", "settle.cc", "row->base = headers.flags.intersected(*flags);", "row->base = *flags;"),
    ("adopted form is LF", "settle.cc", "row.form = raw ? store::StoredForm::AsReceived : store::StoredForm::Lf;", "row.form = store::StoredForm::Lf;"),
    ("cursors of what was not planned", "settle.cc", "if (!work.observed || !work.planned) continue;", "if (!work.observed) continue;"),
    ("cursors of what was not clean", "settle.cc", "    if (work.clean) {\n", "    {\n"),
    ("gone are not counted", "settle.cc", "count.gone = tally.of(MessageState::Gone) + tally.of(MessageState::Vanished);", "count.gone = tally.of(MessageState::Gone);"),
    # observe.cc
    ("vanished without proof", "observe.cc", "work.vanished = missing.minus(*shown);", "work.vanished = missing;"),
    ("vanished by a list that contradicts EXISTS", "observe.cc", "if (missing.empty() || !work.clean) return done();", "if (missing.empty()) return done();",
     "the probe is proof enough whatever the list says; this spares the question only"),
    ("a refused probe is clean", "observe.cc", "if (work.vanished != missing)\n    work.clean = false;", ""),
    ("EXISTS is believed", "observe.cc", "if (work.observed && (!*accounted || (!work.told_gone.empty() && !work.clean))) again.push_back(index);", ""),
    ("flags above the floor are not asked for", "observe.cc", "request.beyond = known && work.beyond;", ""),
    ("flags are never asked for", "observe.cc", "known && !vouched_for(work) && alive_rows(work.row.tally) + work.row.tally.of(MessageState::Vanished) > 0;", "false;"),
    ("flags that were not asked for are vouched for", "observe.cc", "if (vouched_for(work)) work.view.modseq = work.row.modseq;", ""),
    ("VANISHED and the count are proof", "observe.cc", "if (work.observed && *accounted && !work.told_gone.empty())", "if (false)"),
    ("VANISHED is proof for who removes", "observe.cc", "return work.told_gone.empty() || settings_.policy.on_source_delete == OnSourceDelete::Keep;", "return true;"),
    ("VANISHED of what is told to be there", "observe.cc", "gone = gone.intersect(*known).minus(fresh);", "gone = gone.intersect(*known);",
     "the probe finds it"),
    ("flags of old mail are never looked at", "observe.cc", "if (work.source.unseen && work.source.unseen != row.unseen_seen) return done();", ""),
    # identity.cc, limits.cc
    ("UIDNEXT that went back is believed", "identity.cc", "(work.view.uid_next && *work.view.uid_next < work.row.floor.value)", "false"),
    ("what comes back is the same", "identity.cc", "work.suspect = work.replaced || !again->empty();", "work.suspect = work.replaced;"),
    ("UIDs always mean the same", "identity.cc", "another(rows->front(), header.evidence)) return true;", "another(rows->front(), header.evidence)) return false;"),
    ("nobody waits", "limits.cc", "if (context_.wait) context_.wait(*pause);", ""),
    ("a pause is not remembered", "limits.cc", "row.rest_until = come_back_;", ""),
    ("limits are not remembered", "limits.cc", "connections_ = std::min<std::size_t>(connections_, std::size_t{account_.connections} + 1);", ""),
    ("what is due is forgotten", "observe.cc", "touched.merge(*due);", ""),
    ("files of an old generation are forgotten", "observe.cc", "if (auto r = settle_files_of_the_old(work, *transaction, *old_key_of); !r) return r;", ""),
    # rebind.cc
    ("an orphan is used twice", "rebind.cc", "orphan->used = true;", ""),
    ("nobody is recognised", "rebind.cc", "auto* orphan = recognise(orphans, message);", "Orphan* orphan = nullptr;"),
    ("what is not shown is new", "rebind.cc", "if (!work.source.named) work.postponed.merge(unknown);", ""),
    ("postponed are planned", "observe.cc", "touched = touched.minus(work.postponed);", ""),
    ("only the first look recognises", "rebind.cc", "if (work.source.named && !unfinished) return done();", "if (!unfinished) return done();"),
    ("what no list had shown is new", "rebind.cc", "for (const auto uid : work.view.changes.uids()) rest.add(uid);", "",
     "seed 6 of the fuzzer notices (wire_fuzz_whole); the few seeds of every day do not come by"),
    ("a name that cannot be judged is new", "rename.cc", "undecided_.push_back(mailbox.raw_name);", ""),
    # twins.cc
    ("twins are never held", "intake.cc", "if (end - i > 1 && arrivals.may_hold(mailbox))", "if (false)"),
    ("twins are both right", "twins.cc", "out.push_back(!known[i] || right[i] || (!any && !doubtful));", "out.push_back(true);"),
    ("twins are both wrong", "twins.cc", "out.push_back(!known[i] || right[i] || (!any && !doubtful));", "out.push_back(false);"),
    ("doubts are forgotten", "twins.cc", "if (row.reason == kAnotherMessage) out.add(row.uid);", "(void)row;"),
    ("a body is over before its response", "intake.cc", "  if (!incoming_) return done();\n  auto received", "  open_.reset();\n  if (!incoming_) return done();\n  auto received"),
    # fetch.cc, intake.cc, committer.cc
    ("one try only", "fetch.cc", "for (const auto& [slice, form] : kRounds) {", "for (const auto& [slice, form] : {kRounds[0]}) {"),
    ("missing is gone", "fetch.cc", "missing.intersect(*shown).ranges()", "UidSet{}.ranges()"),
    ("no strike at a message that breaks the line", "fetch.cc", "++strikes[*broke_at_] >= (salvaging ? 1 : kStrikes)", "false"),
    ("empty is delivered", "intake.cc", "} else if (received_->wire_octets == 0 && !wanted->empty_allowed.contains(*message.uid)) {", "} else if (false) {"),
    ("what is not it is delivered", "intake.cc", "if (!message.not_it.empty()) {", "if (false) {"),
    ("the server is never ill", "intake.cc", "return ++box.failed_in_a_row > limit;", "return false;"),
    ("no other form", "fetch.cc", "{1, Form::Parts},   {1, Form::Pieces}", "{1, Form::Whole}, {1, Form::Whole}"),
    ("one form only", "fetch.cc", "{1, Form::Parts},   {1, Form::Pieces}", "{1, Form::Parts}, {1, Form::Parts}"),
    ("throttled is over", "fetch.cc", "if (!fetched && Patience::concerns(fetched.error())) {", "if (false) {"),
    ("a second body is delivered, too", "intake.cc", "it->second.taken.contains(uid)) return false;", "false) return false;"),
    ("the owed body is not known without its UID", "intake.cc", "if (open_ || !begun_ || !mailbox_) return open_;", "return open_;"),
    ("what came whole is dropped with the line", "fetch.cc", "auto flushed = intake.flush();", "auto flushed = fetched ? intake.flush() : done();",
     "it is fetched again: slower, never wrong"),
    ("settled before it is durable", "committer.cc", "if (!files) return files.error();", "if (!files) return done();"),
    ("what was there already counts as delivered", "committer.cc", "if (!delivered[i]) continue;", "",
     "the plan has looked for the key before; a file that appears in between is another process's, and there is none"),
    # engine.cc
    ("the account is named after its first mail", "engine.cc", "if (changed || account_.uuid.empty())", "if (false)"),
    ("a mailbox with work is passed over", "engine.cc", "s.uid_next != row.uid_next_seen || s.messages != row.exists_seen)", "false)"),
    ("flag changes are passed over", "engine.cc", "return *s.highest_modseq != row.modseq->value;", "return false;"),
    # leave.cc, names.cc, key.cc, ../pop3_*.cc: sources with names, whose sessions take effect at their end
    ("deleted in the session that fetched it", "leave.cc", "auto rest = work.had.intersect(work.view.present);", "constexpr MessageState kNow[] = {MessageState::Delivered};\n  auto rest = names_->in_state(kNow)->intersect(work.view.present);"),
    ("deleted without reading the copy", "leave.cc", "facts.copy_whole = *whole;", "facts.copy_whole = true;"),
    ("deleted when the names are new", "leave.cc", "!work.fresh_generation && work.report.error.empty()", "work.report.error.empty()"),
    ("days are not waited for", "plan.cc", "return now - facts.first_seen >= *policy.leave;", "return true;"),
    ("a day late", "plan.cc", "now - facts.first_seen >= *policy.leave", "now - facts.first_seen > *policy.leave"),
    ("keys of the UIDs that we gave", "names.cc", "? named_delivery_key(uuid, mailbox, (*names)[uid.value - 1].name, reuse)", "? delivery_key(uuid, mailbox, std::nullopt, uid, reuse)"),
    ("names are not kept", "names.cc", "if (!read_only_ && row_.id.value != 0) {\n    auto transaction = ledger_->begin();\n    if (!transaction) return transaction.error();\n    if (auto r = transaction->add_names", "if (false) {\n    auto transaction = ledger_->begin();\n    if (!transaction) return transaction.error();\n    if (auto r = transaction->add_names"),
    ("QUIT whatever was read", "collector/pop3_source.cc", "if (odd || lacking > 0) {", "if (odd) {"),
    ("QUIT at any end", "collector/pop3_source.cc", "if (!touched_) client_->farewell();", "client_->farewell();"),
    ("other names are other messages", "collector/pop3_source.cc", "if (row.sha256 && seen.contains(row.header_digest)) return true;", "(void)row;"),
    ("much new mail is a migration", "collector/pop3_source.cc", "  while (!gone.empty()) {\n    auto rows", "  if (!gone.empty()) return true;\n  while (!gone.empty()) {\n    auto rows"),
    ("a message is whole at its end", "collector/pop3_fetch.cc", "  in_flight_.pop_front();\n  return done();\n}", "  in_flight_.pop_front();\n  return confirm();\n}"),
    ("no look behind the last message", "collector/pop3_fetch.cc", "return pop3::Noop{};", "return std::nullopt;"),
    ("any size is believed", "collector/pop3_fetch.cc", "return source_.habits_->exact_sizes == false && received_ <= listed + listed / 4 + 1024;", "return true;"),
    ("one unique-id, one message", "collector/pop3_names.cc", "if (uidl.empty() || times[uidl] > 1 || qualified_.contains(uidl) ||", "if (uidl.empty() ||"),
    ("another size is the same message", "collector/pop3_names.cc", "if (before == delivered.end() || same(before->second, message.header->evidence)) {", "if (true) {"),
    ("lost connections are not made again", "engine.cc", "if (++failures_in_a_row_ > settings_.reconnects) {", "{"),
]


def shell(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)


class Builder:
    def __init__(self, build):
        self.build = build
        with open(build / "compile_commands.json", encoding="utf-8") as file:
            self.compile = {entry["file"]: entry for entry in json.load(file)}
        commands = shell(["ninja", "-C", str(build), "-t", "commands", "sync_test"]).stdout.splitlines()
        links = [line for line in commands if " -o tests/sync_test " in line]
        if not links:
            sys.exit("mutate: no link command for sync_test; is " + str(build) + " a Ninja build?")
        self.link = next(part for part in links[-1].split(" && ") if " -o tests/sync_test " in part)

    def make(self, source, text, at):
        """The test program with one source replaced; None and the compiler's words if that is no program."""
        mutated = at / source
        mutated.parent.mkdir(parents=True, exist_ok=True)
        mutated.write_text(text, encoding="utf-8")
        entry = self.compile[str(TOP / source)]
        words = shlex.split(entry["command"])
        words = [word for word in words if word not in ("-Werror", "-Wshadow", "-Wextra", "-Wall")]
        words[words.index("-o") + 1] = str(at / "mutant.o")
        words[words.index(str(TOP / source))] = str(mutated)
        made = shell(words, cwd=entry["directory"])
        if made.returncode != 0:
            return None, made.stdout
        link = shlex.split(self.link)
        link[link.index("-o") + 1] = str(at / "sync_test")
        first_library = next(i for i, word in enumerate(link) if word.endswith(".a"))
        link.insert(first_library, str(at / "mutant.o"))
        made = shell(link, cwd=self.build)
        return (at / "sync_test", "") if made.returncode == 0 else (None, made.stdout)


def noticed(program):
    """Which tests notice: the told ones, the simulation, or none (None)."""
    environment = dict(os.environ, MAILHAUL_HISTORIES=HISTORIES, MAILHAUL_FAILURES="1")
    for name, choice in (("told", "--test-case-exclude=simulation:*,sweep:*,fuzz:*"), ("sweep", "--test-case=sweep:*"),
                         ("simulation", "--test-case=simulation:*")):
        try:
            if shell([str(program), choice, "--abort-after=1"], env=environment, timeout=600).returncode != 0:
                return name
        except subprocess.TimeoutExpired:
            return name + ", by never ending"
    return None


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    builder = Builder(pathlib.Path(sys.argv[1]).resolve())
    chosen = sys.argv[2:]
    bad = lived = caught = 0
    with tempfile.TemporaryDirectory(prefix="mailhaul-mutants-") as scratch:
        for mutant in MUTANTS:
            name, file, old, new = mutant[:4]
            why = mutant[4] if len(mutant) > 4 else None
            if chosen and name not in chosen:
                continue
            source = file if "/" in file else ROOM + file
            text = (TOP / source).read_text(encoding="utf-8")
            if text.count(old) != 1:
                print(f"  STALE     {name}: its text is {text.count(old)} times in {file}", flush=True)
                bad += 1
                continue
            program, words = builder.make(source, text.replace(old, new), pathlib.Path(scratch))
            if program is None:
                print(f"  BROKEN    {name}: does not build\n{words[-2000:]}", flush=True)
                bad += 1
                continue
            by = noticed(program)
            if by:
                caught += 1
                print(f"  noticed   {name} ({file}): {by}", flush=True)
            elif why:
                lived += 1
                print(f"  may live  {name} ({file}): {why}", flush=True)
            else:
                bad += 1
                print(f"  LIVES     {name} ({file})", flush=True)
    print(f"{caught} noticed, {lived} may live, {bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
