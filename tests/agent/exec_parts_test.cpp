#include "detail/op_registry.hpp"
#include "detail/sha256.hpp"
#include "exec/event_encoder.hpp"
#include "exec/output_log.hpp"
#include "exec/spawn.hpp"
#include "exec/users.hpp"

#include <catch2/catch_test_macros.hpp>

#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace hf::agent;
using hf::wire::output_stream;

namespace {

std::string hex(sha256_digest const& digest) {
  std::string text;
  for (unsigned char byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

sha256_digest digest_of(std::string_view bytes, std::size_t piece = 1000) {
  sha256 digest;
  while (!bytes.empty()) {
    digest.update(bytes.substr(0, piece));
    bytes.remove_prefix((std::min)(piece, bytes.size()));
  }
  return digest.finish();
}

std::string encoded(std::string_view bytes, std::uint64_t seq) {
  byte_buffer out;
  append_output_event(out, output_stream::out, bytes, seq);
  return std::string(out.view());
}

struct record {
  output_stream stream;
  std::string bytes;
  std::uint64_t seq;
};

std::vector<record> read_all(output_log& log, log_reader& reader) {
  std::vector<record> records;
  for (;;) {
    auto const got = log.fetch(
        reader, 1000, [&](output_stream stream, std::string_view bytes, std::uint64_t seq) {
          records.push_back({stream, std::string(bytes), seq});
        });
    if (got == output_log::fetched::spilled) {
      auto job = log.load_next(reader);
      job.run();
      REQUIRE(log.loaded(reader, std::move(job)));
    } else if (got != output_log::fetched::records) {
      return records;
    }
  }
}

std::string joined(std::vector<record> const& records) {
  std::string all;
  for (auto const& one : records)
    all += one.bytes;
  return all;
}

}  // namespace

TEST_CASE("SHA-256 gives the published digests", "[parts]") {
  CHECK(hex(digest_of("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hex(digest_of("abc")) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  std::string const million(1'000'000, 'a');
  for (std::size_t piece : {1u, 63u, 64u, 65u, 1000u})
    CHECK(hex(digest_of(million, piece)) ==
          "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("an operation runs once, is replayed, and is never run again", "[parts]") {
  using verdict = op_registry::verdict;
  op_registry::limits limits;
  limits.results = std::chrono::seconds(10);
  limits.digests = std::chrono::seconds(100);
  limits.max_digests = 3;
  op_registry ops(limits);
  auto const t0 = op_registry::clock::now();
  auto const at = [&](int seconds) { return t0 + std::chrono::seconds(seconds); };
  auto const body = digest_of("body");
  CHECK(ops.begin("a", body, at(0)).what == verdict::fresh);
  CHECK(ops.begin("a", body, at(0)).what == verdict::busy);
  CHECK(ops.begin("a", digest_of("other"), at(0)).what == verdict::conflict);
  ops.complete("a", 200, {{"x", 1}}, at(1));
  auto const again = ops.begin("a", body, at(2));
  CHECK(again.what == verdict::replay);
  CHECK(again.status == 200);
  CHECK(again.body["x"] == 1);
  CHECK(ops.begin("a", body, at(11)).what == verdict::gone);
  CHECK(ops.begin("a", digest_of("other"), at(11)).what == verdict::conflict);
  CHECK(ops.begin("b", body, at(12)).what == verdict::fresh);
  ops.abandon("b");
  CHECK(ops.begin("b", body, at(12)).what == verdict::fresh);
  CHECK(ops.begin("c", body, at(12)).what == verdict::fresh);
  CHECK(ops.begin("d", body, at(12)).what == verdict::full);
  CHECK(ops.begin("a", body, at(112)).what == verdict::fresh);
}

TEST_CASE("the fast encoder says what the plain one says", "[parts]") {
  std::mt19937 generator(1);
  std::vector<std::string> const alphabets[] = {
      {"a", "b", " ", "\n", "\"", "\\", "\x01", "\x7f"},
      {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "x", "\xed\x9f\xbf", "\xe0\xa0\x80"},
      {"\xff", "\xc3", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90", "a", "\xe2\x82\xac"}};
  for (int round = 0; round < 3000; ++round) {
    auto const& alphabet = alphabets[round % 3];
    std::string text;
    for (std::size_t i = generator() % 80; i > 0; --i)
      text += alphabet[generator() % alphabet.size()];
    auto const back = hf::wire::event_from_json(hf::wire::json::parse(encoded(text, 5)));
    CHECK(std::get<hf::wire::output_event>(*back).data == text);
    auto const lossy = hf::wire::json::parse(encoded(text, 0))["data"].get<std::string>();
    if (hf::detail::is_utf8(text))
      CHECK(lossy == text);
    else
      CHECK(lossy.find("\xef\xbf\xbd") != std::string::npos);
  }
  CHECK(encoded("\xc2\x85\xe2\x80\xa8\xe2\x80\xa9\x1f", 0) ==
        "{\"data\":\"\\u0085\\u2028\\u2029\\u001f\",\"event\":\"stdout\"}\n");
  // One replacement for each longest part of a character, as Unicode recommends.
  CHECK(hf::wire::json::parse(encoded("\xf0\x9f\x98x\xe2\x82\xff", 0))["data"] ==
        "\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd");
}

TEST_CASE("only what can still become a character is held back", "[parts]") {
  CHECK(incomplete_utf8_tail("") == 0);
  CHECK(incomplete_utf8_tail("abc") == 0);
  CHECK(incomplete_utf8_tail("a\xe2") == 1);
  CHECK(incomplete_utf8_tail("a\xe2\x82") == 2);
  CHECK(incomplete_utf8_tail("a\xe2\x82\xac") == 0);
  CHECK(incomplete_utf8_tail("\xf0\x9f\x98") == 3);
  CHECK(incomplete_utf8_tail("\xff") == 0);
  CHECK(incomplete_utf8_tail("\xed\xa0") == 0);
  CHECK(incomplete_utf8_tail("\x80\x80\x80") == 0);
}

TEST_CASE("a log joins what nobody has seen and never changes what somebody has", "[parts]") {
  log_budget budget;
  output_log log(budget, {});
  log.keep_delivered(1u << 20);
  log_reader reader;
  log.attach(reader);
  log.append(output_stream::out, "a");
  log.append(output_stream::out, "b");
  log.append(output_stream::err, "c");
  auto records = read_all(log, reader);
  REQUIRE(records.size() == 2);
  CHECK(records[0].bytes == "ab");
  CHECK(records[1].stream == output_stream::err);
  log.append(output_stream::err, "d");
  CHECK(log.take_number() == 4);
  log.append(output_stream::err, "e");
  records = read_all(log, reader);
  REQUIRE(records.size() == 1);
  CHECK(records[0].seq == 3);
  log.skip_number(reader);
  CHECK(read_all(log, reader).at(0).seq == 5);
  log.delivered(reader);
  log.detach(reader);
  log_reader late(1);
  log.attach(late);
  CHECK(read_all(log, late).at(0).bytes == "c");
  log.detach(late);
}

TEST_CASE("a log without a window keeps nothing that was delivered", "[parts]") {
  log_budget budget;
  output_log log(budget, {});
  log_reader reader;
  log.attach(reader);
  std::string const piece(100'000, 'x');
  for (int i = 0; i < 200; ++i) {
    log.append(output_stream::out, piece);
    CHECK(joined(read_all(log, reader)).size() == piece.size());
    log.delivered(reader);
  }
  CHECK(log.memory() < 1'000'000);
  CHECK(log.unread() == 0);
  CHECK(log.dropped_bytes() == 0);
  log.detach(reader);
  log.clear();
  CHECK(budget.memory_used == 0);
}

TEST_CASE("a log spills its oldest part, reads it back, and says what it drops", "[parts]") {
  log_budget budget;
  log_limits limits;
  limits.spill = 2'000'000;
  output_log log(budget, limits);
  log.keep_delivered(1u << 30);
  std::string expected;
  for (int i = 0; i < 30; ++i) {
    std::string const piece(100'000, static_cast<char>('a' + i % 26));
    expected += piece;
    log.append(output_stream::out, piece);
    while (log.memory() > 500'000) {
      auto job = log.spill_oldest();
      if (!job.segment) {
        REQUIRE(log.drop_oldest());
        continue;
      }
      job.run();
      log.spilled(std::move(job));
    }
  }
  CHECK(log.disk() <= limits.spill);
  CHECK(budget.disk_used == log.disk());
  CHECK(log.dropped_bytes() > 0);
  log_reader reader(log.first_seq() - 1);
  log.attach(reader);
  auto const records = read_all(log, reader);
  std::string const kept = joined(records);
  CHECK(kept.size() + log.dropped_bytes() == expected.size());
  CHECK(expected.ends_with(kept));
  for (std::size_t i = 1; i < records.size(); ++i)
    CHECK(records[i].seq == records[i - 1].seq + 1);
  log_reader too_late(0);
  log.attach(too_late);
  CHECK(log.fetch(too_late, 1, [](output_stream, std::string_view, std::uint64_t) {}) ==
        output_log::fetched::gone);
  log.detach(too_late);
  log.detach(reader);
  log.clear();
  CHECK(budget.memory_used == 0);
  CHECK(budget.disk_used == 0);
}

namespace {

/// A log whose first segment lies on disk.
void fill_and_spill(output_log& log) {
  for (int i = 0; i < 30; ++i)
    log.append(output_stream::out, std::string(100'000, 'x'));
  while (log.can_spill()) {
    auto job = log.spill_oldest();
    job.run();
    log.spilled(std::move(job));
  }
}

output_log::fetched fetch_one(output_log& log, log_reader& reader) {
  return log.fetch(reader, 1, [](output_stream, std::string_view, std::uint64_t) {});
}

}  // namespace

TEST_CASE("what was given up while it was read back is not handed out", "[parts]") {
  log_budget budget;
  output_log log(budget, {});
  fill_and_spill(log);
  log_reader reader;
  log.attach(reader);
  REQUIRE(fetch_one(log, reader) == output_log::fetched::spilled);
  auto job = log.load_next(reader);
  log.clear();
  job.run();
  CHECK_FALSE(log.loaded(reader, std::move(job)));
  CHECK(fetch_one(log, reader) == output_log::fetched::gone);
  log.detach(reader);
}

TEST_CASE("what the disk does not give back is gone, and said to be", "[parts]") {
  log_budget budget;
  output_log log(budget, {});
  fill_and_spill(log);
  log_reader reader;
  log.attach(reader);
  REQUIRE(fetch_one(log, reader) == output_log::fetched::spilled);
  auto job = log.load_next(reader);
  auto const end = job.segment->end_seq;
  job.ok = false;
  CHECK_FALSE(log.loaded(reader, std::move(job)));
  CHECK(fetch_one(log, reader) == output_log::fetched::gone);
  CHECK(log.first_seq() == end);
  CHECK(log.dropped_bytes() > 0);
  log.detach(reader);
}

TEST_CASE("a log that is given up serves the readers that are there", "[parts]") {
  log_budget budget;
  output_log log(budget, {});
  log_reader reader;
  log.attach(reader);
  log.append(output_stream::out, "kept");
  log.clear_when_unread();
  log.append(output_stream::out, " to the end");
  CHECK(joined(read_all(log, reader)) == "kept to the end");
  log.detach(reader);
  CHECK(budget.memory_used == 0);
  // Once is once: the next ones are kept as usual.
  log.append(output_stream::out, "late");
  log_reader late(log.last_seq() - 1);
  log.attach(late);
  CHECK(joined(read_all(log, late)) == "late");
  log.detach(late);
}

TEST_CASE("programs are searched like a shell does it", "[parts]") {
  using list = std::vector<std::string>;
  CHECK(program_candidates("/bin/x", {"PATH=/a"}) == list{"/bin/x"});
  CHECK(program_candidates("./x", {"PATH=/a"}) == list{"./x"});
  CHECK(program_candidates("x", {"A=b", "PATH=/a::/b"}) == list{"/a/x", "./x", "/b/x"});
  CHECK(program_candidates("x", {}).back() == "/bin/x");
  CHECK(program_candidates("", {"PATH=/a"}).empty());
}

TEST_CASE("users are found by name, by number, and with their groups", "[parts]") {
  std::string_view const passwd =
      "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100::/home/ann:/bin/sh\nbad line\n";
  std::string_view const group = "root:x:0:\nusers:x:100:\ndev:x:200:bob,ann\nops:x:300:anna\n";
  auto const ann = find_user("ann", passwd, group);
  REQUIRE(ann);
  CHECK(ann->uid == 1000);
  CHECK(ann->gid == 100);
  CHECK(ann->groups == std::vector<gid_t>{100, 200});
  CHECK(find_user("1000", passwd, group)->groups == std::vector<gid_t>{100, 200});
  CHECK(find_user("7", passwd, group)->gid == 7);
  CHECK(ann->home == "/home/ann");
  CHECK(find_user("1000:7", passwd, group)->home == "/home/ann");
  CHECK(find_user("7", passwd, group)->home == "/");
  CHECK(find_user("7:8", passwd, group)->groups == std::vector<gid_t>{8});
  for (char const* text : {"", "nobody-here", "7:", "7:x", ":7", "-1", "4294967295"})
    CHECK_FALSE(find_user(text, passwd, group));
}
