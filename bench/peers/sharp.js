// The reference design's stages with sharp: node sharp.js JOB, with sharp on NODE_PATH. Prints one JSON object.
// JOB is JSON: {photos: [path], rounds, out: folder, stages: [name]}; the outputs are written to the folder. Without
// stages all are run.
//
// As that design says: a new sharp for every step, mozjpeg with all its switches, metadata of every thumbnail. Added is
// autoOrient, without which portraits lie on their side; the photos of the mix are upright, so it costs nothing there.
if (process.argv.length !== 3 || !process.env.NODE_PATH) {
  console.error('usage: sharp.js JOB, as JSON (bench/kernels.py runs it)');
  process.exit(2);
}
const { createRequire } = require('node:module');
const fs = require('node:fs');
const path = require('node:path');
const sharp = createRequire(path.join(process.env.NODE_PATH, 'x.js'))('sharp');

sharp.concurrency(1);

const SIZES = [['thumb_sm', 150, 75], ['thumb_md', 300, 80], ['thumb_lg', 600, 85]];
const THRESHOLD = 2 * 1024 * 1024;

const STAGES = {
  async validation(photo) {
    const image = sharp(photo);
    const { format, width, height } = await image.metadata();
    if (!['jpeg', 'png', 'webp', 'heif'].includes(format) || Math.min(width, height) < 100) throw new Error(format);
    await image.toBuffer();
  },
  async metadata(photo) {
    const image = sharp(photo);
    await image.metadata();
    await image.stats();
  },
  async thumbnails(photo, outputs) {
    for (const [name, side, quality] of SIZES) {
      outputs[name] = await sharp(photo).autoOrient()
        .resize(side, side, { fit: 'inside', withoutEnlargement: true, kernel: sharp.kernel.lanczos3 })
        .jpeg({ quality, progressive: true, mozjpeg: true }).toBuffer();
      await sharp(outputs[name]).metadata();
    }
  },
  async optimization(photo, outputs) {
    if (photo.length <= THRESHOLD) return;
    outputs.optimized = await sharp(photo).autoOrient()
      .jpeg({ quality: 85, progressive: true, mozjpeg: true, optimizeCoding: true, trellisQuantisation: true, overshootDeringing: true })
      .toBuffer();
  },
};

async function measured(photo, outputs, asked) {
  const spent = {};
  for (const [name, stage] of Object.entries(STAGES)) {
    if (asked && !asked.includes(name)) continue;
    const before = process.cpuUsage();
    await stage(photo, outputs);
    const { user, system } = process.cpuUsage(before);
    spent[name] = (user + system) / 1000;
  }
  spent.pipeline = Object.values(spent).reduce((sum, ms) => sum + ms);
  return spent;
}

async function main() {
  const job = JSON.parse(process.argv[2]);
  const found = {};
  for (const file of job.photos) {
    const photo = fs.readFileSync(file), name = path.parse(file).name, outputs = {};
    await STAGES.thumbnails(photo, outputs); // Once unmeasured: what is loaded and compiled at first use.
    const rounds = [];
    for (let round = 0; round < job.rounds; round += 1) rounds.push(await measured(photo, outputs, job.stages));
    const least = (kernel) => Math.min(...rounds.map((spent) => spent[kernel]));
    found[path.basename(file)] = Object.fromEntries(Object.keys(rounds[0]).map((kernel) => [kernel, least(kernel)]));
    for (const [output, data] of Object.entries(outputs)) fs.writeFileSync(path.join(job.out, `${name}.${output}.jpg`), data);
  }
  console.log(JSON.stringify({ versions: sharp.versions, found }));
}

main();
