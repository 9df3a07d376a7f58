// The same service by somebody who knows sharp well: nothing is decoded or computed twice. Run by bench/compare.py.
//
// One decode, reduced by the decoder where the format can, becomes the large thumbnail's pixels; the other thumbnails and
// the statistics are made of those. A photo that gets an optimised copy is decoded once more, at full size. Threads: one
// a picture in libvips (sharp.concurrency), pictures side by side in libuv's pool (UV_THREADPOOL_SIZE, from outside).
//
// JPEGs: mozjpeg's quantisation table 2 at 3 less than the quality asked for, progressive, without trellis. Bytes and
// SSIMULACRA2 are then those of `mozjpeg: true` within some percent and half a point, for a fifth of its CPU.
const sharp = require('sharp');
const {
  Events, OPTIMIZE, Photos, SIZES, Storage, describe, notOptimized, refuse, requireSupported, serve, storeOptimized, storeThumbnail,
} = require('./photo_service.js');

sharp.cache(false);
sharp.concurrency(1);

const jpeg = (quality) => ({ quality: quality - 3, progressive: true, quantisationTable: 2 });

// A thumbnail's size from the photo's, so that it is the same whatever picture it is made from.
function fit({ width, height }, side) {
  const longer = Math.max(width, height);
  return [width, height].map((length) => (longer <= side ? length : Math.max(1, Math.round((length * side) / longer))));
}

async function decode(photo, displayed) {
  const [width, height] = fit(displayed, SIZES.at(-1).side);
  try {
    return await sharp(photo, { failOn: 'warning' })
      .autoOrient().resize(width, height, { fit: 'fill' }).flatten({ background: '#fff' }).toColourspace('srgb')
      .raw().toBuffer({ resolveWithObject: true });
  } catch (error) {
    return refuse(`FILE_CORRUPTED: ${error.message}`);
  }
}

async function thumbnails(storage, job, reduced, displayed) {
  return Promise.all(SIZES.map(async ({ name, side, quality }) => {
    const [width, height] = fit(displayed, side);
    const made = await reduced.clone().resize(width, height, { fit: 'fill' }).jpeg(jpeg(quality))
      .toBuffer({ resolveWithObject: true });
    return storeThumbnail(storage, job, name, made);
  }));
}

async function optimize(storage, job, photo) {
  if (photo.length <= OPTIMIZE.threshold) return notOptimized(photo.length);
  const data = await sharp(photo).autoOrient().flatten({ background: '#fff' }).jpeg(jpeg(OPTIMIZE.quality)).toBuffer();
  return storeOptimized(storage, job, photo.length, data);
}

const storage = new Storage(), photos = new Photos(), events = new Events();

serve({ photos, events }, async (job) => {
  // Commands of one connection keep their order: nobody has to wait for each mark.
  const marks = [];
  const mark = (percent) => marks.push(events.progress(job, percent));
  const photo = await storage.fetch(job.data.s3Key);
  mark(25);
  const header = await sharp(photo).metadata();
  requireSupported(header);
  const { data, info } = await decode(photo, header.autoOrient);
  mark(35);
  const reduced = sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } });
  const metadata = describe(header, await reduced.stats());
  mark(45);
  const small = await thumbnails(storage, job, reduced, header.autoOrient);
  mark(75);
  const optimization = await optimize(storage, job, photo);
  mark(90);
  await Promise.all(marks);
  return { metadata, thumbnails: small, optimization };
});
