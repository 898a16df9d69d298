// A validator with a bug, for the tests: what does the host say, and does the author learn where it is?

import { description } from './caelum.js';

export const validator = {
  describe() {
    const schema = { type: 'object' };
    const about = { id: 'broken', version: '0.1.0', title: 'Broken', summary: 'Throws what nobody catches.', schema };
    return { about: description(about), phases: ['after'], evidenceFormats: [] };
  },

  judge() {
    throw new Error('a bug in the plugin');
  },
};
