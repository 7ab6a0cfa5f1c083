#include "support/file_helpers.hpp"
#include "support/official_agent/official_agent.hpp"
#include "support/sandbox_types.hpp"
#include "support/scale.hpp"

#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <string>
#include <vector>

using hf::errc;
using hf::testing_support::kind_of;
using hf::testing_support::need_official_agent;
using hf::testing_support::noise;
using hf::testing_support::official_launcher;
using hf::testing_support::official_sandbox;
using hf::testing_support::scaled;
using hf::testing_support::slurp;
using hf::testing_support::spill;

namespace {

namespace fs = std::filesystem;

template <class Sandbox>
std::string directory_of(Sandbox const& sb) {
  return sb.client()->launcher().agent(sb.id()).directory();
}

std::vector<std::string> names_of(std::vector<hf::file_entry> const& entries) {
  std::vector<std::string> names;
  for (auto const& entry : entries)
    names.push_back(entry.name);
  return names;
}

}  // namespace

TEMPLATE_TEST_CASE("files of an official agent are written, read, listed and removed", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());
  auto const base = directory_of(sb);
  auto files = sb.files();

  auto const content = noise(100'000);
  hf::write_options how;
  how.mode = 0750;
  auto const written = files.write(base + "/d/e/file", content, how);
  CHECK(written.path == base + "/d/e/file");
  CHECK(written.size == content.size());
  // It writes in place and does not say so.
  CHECK_FALSE(written.atomic);
  CHECK((files.read(base + "/d/e/file") == content));
  auto const entry = files.stat(base + "/d/e/file");
  CHECK(entry.name == "file");
  CHECK(entry.path == base + "/d/e/file");
  CHECK(entry.type == hf::file_type::file);
  CHECK(entry.size == content.size());
  CHECK(entry.mode == 0750);
  CHECK(entry.mtime_ms.value_or(0) > 1'500'000'000'000);

  files.write(base + "/d/e/file", "");
  CHECK(files.read(base + "/d/e/file").empty());
  CHECK(files.exists(base + "/d/e/file"));
  CHECK_FALSE(files.exists(base + "/d/none"));

  files.make_directory(base + "/d/new/deep");
  files.make_directory(base + "/d/new/deep");
  CHECK(files.stat(base + "/d/new").type == hf::file_type::directory);
  fs::create_symlink("nowhere", base + "/d/dangling");
  CHECK(files.stat(base + "/d/dangling").type == hf::file_type::symlink);
  CHECK(files.exists(base + "/d/dangling"));
  CHECK(names_of(files.list(base + "/d")) == std::vector<std::string>{"dangling", "e", "new"});

  CHECK(kind_of([&] { files.remove(base + "/d"); }) == errc::not_empty);
  files.remove(base + "/d/dangling");
  files.remove(base + "/d/new/deep");
  files.remove(base + "/d", true);
  CHECK_FALSE(fs::exists(base + "/d"));
}

TEMPLATE_TEST_CASE("refusals of an official agent's files are typed by their reason", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());
  auto const base = directory_of(sb);
  auto files = sb.files();
  spill(base + "/file", "x");
  sb.exec({"mkfifo", base + "/fifo"}).check();

  CHECK(kind_of([&] { files.read(base + "/none"); }) == errc::not_found);
  CHECK(kind_of([&] { files.stat(base + "/none"); }) == errc::not_found);
  CHECK(kind_of([&] { files.list(base + "/none"); }) == errc::not_found);
  CHECK(kind_of([&] { files.remove(base + "/none"); }) == errc::not_found);
  CHECK(kind_of([&] { files.read(base); }) == errc::is_directory);
  CHECK(kind_of([&] { files.write(base, "x"); }) == errc::is_directory);
  CHECK(kind_of([&] { files.list(base + "/file"); }) == errc::not_directory);
  CHECK(kind_of([&] { files.stat(base + "/file/below"); }) == errc::not_directory);
  CHECK(kind_of([&] { files.exists(base + "/file/below"); }) == errc::not_directory);
  CHECK(kind_of([&] { files.make_directory(base + "/file"); }) == errc::conflict);
  CHECK(kind_of([&] { files.read(base + "/fifo"); }) == errc::not_regular);
  hf::write_options how;
  how.make_parents = false;
  CHECK(kind_of([&] { files.write(base + "/none/file", "x", how); }) == errc::not_found);
  how = {};
  how.require_atomic = true;
  CHECK(kind_of([&] { files.write(base + "/file", "y", how); }) == errc::unsupported);
  CHECK(slurp(base + "/file") == "x");
  try {
    files.list(base + "/file");
    FAIL("a file was listed");
  } catch (hf::error const& e) {
    CHECK(e.http_status() == 400);
    CHECK(e.details().system_error == 20);
    CHECK(e.details().where == hf::hop::agent);
  }
  CHECK(files.list(base).size() >= 2);
}

TEMPLATE_TEST_CASE("large files cross to and from an official agent in one stream and in many", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());
  auto const base = directory_of(sb);
  auto files = sb.files();
  auto const content = noise(scaled<std::size_t>(200u << 20, (12u << 20) + 12'345));
  spill(base + "/local", content);
  for (std::size_t const streams : {1u, 16u}) {
    CAPTURE(streams);
    // An older, longer file leaves nothing behind.
    spill(base + "/remote", content + "tail");
    hf::write_options how;
    how.transfer.streams = streams;
    how.mode = 0640;
    auto const written = files.upload(base + "/local", base + "/remote", how);
    CHECK(written.size == content.size());
    CHECK_FALSE(written.atomic);
    CHECK((slurp(base + "/remote") == content));
    CHECK(files.stat(base + "/remote").mode == 0640);

    hf::transfer_options back;
    back.streams = streams;
    hf::transfer_progress last;
    back.on_progress = [&](hf::transfer_progress const& now) { last = now; };
    files.download(base + "/remote", base + "/back", back);
    CHECK((slurp(base + "/back") == content));
    CHECK(last.done == content.size());
    CHECK(last.total == content.size());
    CHECK((files.read(base + "/remote", {.transfer = back}) == content));
    for (auto const size : {(2u << 20) - 1, 2u << 20, (2u << 20) + 1}) {
      files.write(base + "/edge", std::string_view(content).substr(0, size), how);
      CHECK((files.read(base + "/edge", {.transfer = back}) == content.substr(0, size)));
    }
  }
}

TEMPLATE_TEST_CASE("a link to a large file is read as the file, in many streams too", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());
  auto const base = directory_of(sb);
  auto const content = noise(5u << 20);
  spill(base + "/file", content);
  fs::create_symlink("file", base + "/link");
  hf::transfer_options how;
  how.streams = 16;
  CHECK((sb.files().read(base + "/link", {.transfer = how}) == content));
  sb.files().download(base + "/link", base + "/back", how);
  CHECK((slurp(base + "/back") == content));
}

TEST_CASE("an agent of version 0.5 keeps no end of an older file behind a large upload") {
  need_official_agent();
  auto sb =
      official_sandbox<hf::curl_transport>::create({}, official_launcher({.version = "0.5.0"}));
  auto const base = directory_of(sb);
  auto const content = noise(5u << 20);
  spill(base + "/file", content + "tail");
  hf::write_options how;
  how.transfer.streams = 16;
  sb.files().write(base + "/file", content, how);
  CHECK((slurp(base + "/file") == content));
  CHECK(sb.files().list(base).size() >= 2);
  CHECK_FALSE(sb.files().exists(base + "/none"));
}

TEMPLATE_TEST_CASE("directories of an official agent come page by page", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());
  auto const base = directory_of(sb) + "/many";
  fs::create_directory(base);
  // More than one page of the agent's default size.
  int const count = 10'017;
  for (int i = 0; i < count; ++i)
    spill(base + "/" + std::to_string(100'000 + i), "");
  auto const all = sb.files().list(base);
  REQUIRE(all.size() == count);
  CHECK(all.front().name == "100000");
  CHECK(all.back().name == std::to_string(100'000 + count - 1));
  auto const page = sb.files().list_page(base, "100003", 2);
  CHECK(names_of(page.entries) == std::vector<std::string>{"100004", "100005"});
  CHECK(page.truncated);
  CHECK(page.next == "100005");
}

TEMPLATE_TEST_CASE("names of any kind reach an official agent as they are", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  need_official_agent();
  auto sb = official_sandbox<TestType>::create({}, official_launcher());
  auto const base = directory_of(sb) + "/names";
  auto files = sb.files();
  std::vector<std::string> const names{
      "\n", " ", "%41", "+", "a b", "a#b?c", "a&b=c;d", "x\"y\\z", "\xc3\xa9", "\xf0\x9f\x98\x80"};
  for (auto const& name : names)
    files.write(base + "/" + name, name);
  CHECK(names_of(files.list(base)) == names);
  CHECK(files.list_page(base, "+", 2).entries.at(0).name == "a b");
  for (auto const& name : names) {
    CAPTURE(name);
    CHECK(slurp(base + "/" + name) == name);
    CHECK(files.read(base + "/" + name) == name);
    CHECK(files.stat(base + "/" + name).name == name);
    files.remove(base + "/" + name);
  }
  CHECK(files.list(base).empty());
}
