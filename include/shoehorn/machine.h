// What this machine is and can do.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace shoehorn {

/// Rates measured just now.
struct MachineRates {
  double memory_bytes_s = 0;  // sequential reads, all threads
  double disk_bytes_s = 0;    // large reads that pass by the page cache; 0 where there was no file
  double f32_flops = 0;       // fused multiply-adds count twice
};

struct ProbeOptions {
  int threads = 0;                  // 0: as LoadOptions::threads
  std::size_t bytes = 3ULL << 30;   // read in all; less is quicker and less exact
  std::filesystem::path file = {};  // a large file on the drive to measure; empty: no drive
};

MachineRates measure_machine(const ProbeOptions& options = {});

struct MachineReport {
  std::string text;
  std::string json;  // one object, see docs/cli.md
};

/// Processor features, memory, cgroup limit, drive, GPUs, and what is wrong with any of them.
MachineReport doctor(const ProbeOptions& options = {});

/// The largest file of a model's checkpoint: what to measure its drive with.
std::filesystem::path largest_file(const std::string& model);

/// Highest resident memory of this process so far, in bytes.
std::size_t peak_resident_bytes();

}  // namespace shoehorn
